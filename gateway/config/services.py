"""The services beside PHP: the broker, sources of publications, databases, cache stores."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from .fields import Address, Count, Duration, PositiveDuration, Secret, Section, Text, word
from .templates import check_pattern

_Pattern = Annotated[Text, AfterValidator(check_pattern)]


class Broker(Section):
    """Where channels live."""

    type: Annotated[Literal["memory", "redis", "nats"], *word("memory", "redis", "nats")] = Field(
        default="memory",
        description="`memory` serves one machine with any number of workers; `redis` and `nats` "
        "serve many machines.",
    )
    url: Secret = Field(default="", description="Where the broker is; not for `memory`.")
    prefix: Text = Field(
        default="wsgate:", description="What its own keys and subjects begin with."
    )

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if (self.type == "memory") == bool(self.url):
            what = "has no url" if self.type == "memory" else "needs url"
            raise ValueError(f"type {self.type} {what}")
        return self


class RedisSource(Section):
    """Publications that others send with PUBLISH."""

    type: Literal["redis"] = Field(description="Redis.")
    url: Secret = Field(description="Where Redis is: `redis://host:6379/0`.")
    match: _Pattern = Field(description="The channels that come from there.")
    prefix: Text = Field(
        default="", description="What the names have in Redis in front of the channel."
    )


class PostgresSource(Section):
    """Publications that others send with NOTIFY."""

    type: Literal["postgres"] = Field(description="PostgreSQL.")
    dsn: Text = Field(description="The name of one of the `databases`.")
    match: _Pattern = Field(description="The channels that come from there.")
    strip: Text = Field(
        default="", description="What is taken off a channel to get the name of the NOTIFY."
    )
    mode: Annotated[Literal["channel", "payload"], *word("channel", "payload")] = Field(
        default="channel",
        description="`channel`: the NOTIFY channel is the channel. `payload`: one NOTIFY channel "
        'carries `{"channel","data"}`.',
    )
    notify: Text = Field(default="", description="The NOTIFY channel of `mode: payload`.")

    @model_validator(mode="after")
    def _listens_to_something(self) -> Self:
        if (self.mode == "payload") != bool(self.notify):
            raise ValueError("notify names the NOTIFY channel of mode payload, and of no other")
        return self


Source = Annotated[RedisSource | PostgresSource, Field(discriminator="type")]


class Database(Section):
    """A PostgreSQL database; the address alone may stand for the mapping."""

    dsn: Secret = Field(description="Its address: `postgresql://user:password@host/name`.")
    listen_dsn: Secret = Field(
        default="",
        description="Its address for LISTEN, where `dsn` leads through PgBouncer. Default: `dsn`.",
    )
    max_connections: Count = Field(default=4, description="Connections of one worker for queries.")
    timeout: PositiveDuration = Field(
        default=5.0, description="How long a query may take, waiting for a connection included."
    )

    @model_validator(mode="before")
    @classmethod
    def _address_alone(cls, value: Any) -> Any:
        return {"dsn": value} if isinstance(value, str) else value


class Stores(Section):
    """Where `cache.store` may keep replies, besides memory."""

    memcached: Address | None = Field(default=None, description="The address of memcached.")
    redis: Secret = Field(default="", description="Where Redis is: `redis://host:6379/1`.")


class Shutdown(Section):
    """How the gateway stops."""

    timeout: PositiveDuration = Field(
        default=30.0, description="After so long it exits, whatever is still running."
    )
    spread: Duration = Field(
        default=5.0,
        description="Clients are closed over this time, so that they do not all come back at once.",
    )
