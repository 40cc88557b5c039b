"""The whole file, as values.

`Config` is what the rest of the gateway reads: frozen, checked, every default filled in. It can
be made in Python as well: `Config.model_validate({"upstreams": {...}, "routes": [...]})`; only
`loading.load` also checks what needs the surroundings (files, keys that nothing serves).
"""

import os
from typing import Annotated, Self

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from . import units
from .channels import Channel
from .client import Client
from .fields import Address, Network, OneOrMany, Scalar, Section
from .listening import Internal, Log, Tls
from .routes import Route
from .services import Broker, Database, Shutdown, Source, Stores
from .units import Listen
from .upstreams import Upstream


def _workers(value: object) -> int:
    """A number of processes; `auto` is one for each core this process may use."""
    if value == "auto":
        return len(os.sched_getaffinity(0))
    try:
        return units.number(1)(value)
    except ValueError as exc:
        raise ValueError(f"expected a number or auto, got {units.shown(value)}") from exc


class Config(Section):
    """Everything that can be configured."""

    listen: Annotated[tuple[Address, ...], OneOrMany] = Field(
        default=(Listen("0.0.0.0", 8080),),
        min_length=1,
        description="Where clients connect: `host:port`, `[::]:8080`, `unix:/path`, or a list.",
    )
    tls: Tls | None = Field(default=None, description="TLS on `listen`. Default: none.")
    trusted_proxies: Annotated[tuple[Network, ...], OneOrMany] = Field(
        default=(),
        description="Addresses and networks whose X-Forwarded-For and X-Forwarded-Proto count.",
    )
    internal: Internal = Field(
        default=Internal(), description="API, metrics, health and status page."
    )
    workers: Annotated[
        int,
        PlainValidator(_workers),
        WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string"}]}),
        Scalar("number \\| auto", str),
    ] = Field(default=1, description="Processes; `auto` is one a core.")
    log: Log = Field(default=Log(), description="What is logged.")
    upstreams: dict[str, Upstream] = Field(
        default_factory=dict, description="The php-fpm pools, each under a name of your choice."
    )
    client: Client = Field(
        default=Client(), description="Limits of clients: defaults for every route."
    )
    routes: tuple[Route, ...] = Field(
        default=(), description="What clients may connect to; the first match wins."
    )
    channels: tuple[Channel, ...] = Field(
        default=(),
        description="Rules of channels by name; the first match wins, and a channel without one "
        "has the defaults.",
    )
    broker: Broker = Field(default=Broker(), description="Where channels live.")
    sources: tuple[Source, ...] = Field(
        default=(), description="Publications that others send, in Redis or PostgreSQL."
    )
    databases: dict[str, Database] = Field(
        default_factory=dict, description="PostgreSQL databases, each under a name of your choice."
    )
    stores: Stores = Field(default=Stores(), description="Where `cache.store` keeps replies.")
    shutdown: Shutdown = Field(default=Shutdown(), description="How the gateway stops.")

    def client_of(self, route: Route) -> Client:
        """The client section that counts on a route: the defaults with what the route changes."""
        return route.client

    @model_validator(mode="after")
    def _fill_in_client_of_routes(self) -> Self:
        for route in self.routes:
            changed = {name: getattr(route.client, name) for name in route.client.model_fields_set}
            merged = self.client.model_copy(update=changed)
            # Still inside validation: the route is frozen only for those who are handed it.
            object.__setattr__(route, "client", merged)
        return self
