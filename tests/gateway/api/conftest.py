from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway.api import ApiServices, create_api
from gateway.api.express import Express
from gateway.api.services import Readiness
from gateway.brokers.memory import MemoryBroker
from gateway.channels.broker import ChannelRules, Member
from gateway.channels.policy import ChannelPolicy, Policies
from gateway.channels.publication import Publication
from gateway.channels.service import ChannelService
from gateway.errors import ChannelFullError, ConnectionGoneError, ConnectionIdError
from gateway.metrics import Metrics, Snapshot

OPEN_ID = "nodename-open"
GONE_ID = "nodename-gone"

Client = TestClient[web.Request, web.Application]
Serve = Callable[..., Awaitable[Client]]


@dataclass(eq=False)
class Listener:
    """A subscriber that remembers what it was given."""

    id: str = "listener"
    user: str = "ann"
    received: list[tuple[bytes, str]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    def deliver(self, publication: Publication) -> None:
        self.received.append((publication.message.data, publication.message.content_type))

    def on_join(self, channel: str, member: Member) -> None: ...

    def on_leave(self, channel: str, member: Member) -> None: ...

    def lane(self) -> None: ...

    def on_channel_closed(self, channel: str) -> None:
        self.closed.append(channel)

    def on_gap(self, channel: str) -> None: ...


@dataclass
class FakeConnections:
    """One connection is open, one has gone; everything done to them is written down."""

    done: list[tuple[Any, ...]] = field(default_factory=list)

    def _find(self, connection_id: str) -> None:
        if connection_id == GONE_ID:
            raise ConnectionGoneError(connection_id)
        if connection_id != OPEN_ID:
            raise ConnectionIdError(connection_id)

    async def state(self, connection_id: str) -> dict[str, object]:
        self._find(connection_id)
        return {"id": connection_id, "route": "chat"}

    async def push(self, connection_id: str, payload: bytes, content_type: str) -> None:
        self._find(connection_id)
        self.done.append(("push", payload, content_type))

    async def close(self, connection_id: str, code: int, reason: str) -> None:
        self._find(connection_id)
        self.done.append(("close", code, reason))

    async def subscribe(self, connection_id: str, channel: str) -> None:
        self._find(connection_id)
        if channel == "full":
            raise ChannelFullError(channel, 1)
        self.done.append(("subscribe", channel))

    async def unsubscribe(self, connection_id: str, channel: str) -> None:
        self._find(connection_id)
        self.done.append(("unsubscribe", channel))


@dataclass
class House:
    """Everything behind the API, for tests to look at and to change."""

    broker: MemoryBroker
    channels: ChannelService
    connections: FakeConnections = field(default_factory=FakeConnections)
    metrics: Metrics = field(default_factory=lambda: Metrics("1.2.3"))
    reasons: list[str] = field(default_factory=list)
    degraded: list[str] = field(default_factory=list)

    def services(self, **changes: Any) -> ApiServices:
        async def status() -> dict[str, object]:
            return {"version": "1.2.3", "uptime": 12.5, "workers": 1}

        async def numbers() -> Snapshot:
            return self.metrics.export()

        services = ApiServices(
            channels=self.channels,
            connections=self.connections,
            readiness=lambda: Readiness(self.reasons, self.degraded),
            status=status,
            numbers=numbers,
        )
        return replace(services, **changes)

    async def listen(self, *channels: str, name: str = "listener") -> Listener:
        listener = Listener(id=name)
        for channel in channels:
            await self.channels.join(listener, channel)
        return listener


@pytest.fixture
async def house() -> AsyncIterator[House]:
    policies = Policies(
        [
            ChannelPolicy("kept.*", ChannelRules(history_size=3, history_ttl=600)),
            ChannelPolicy("private.*", ChannelRules(explicit=True)),
            ChannelPolicy("here.*", ChannelRules(presence=True)),
        ]
    )
    broker = MemoryBroker()
    channels = ChannelService(broker, policies)
    await channels.start()
    yield House(broker, channels)
    await channels.stop()


class Runner(web.AppRunner):
    """Runs the application as the worker does: with the short way before it."""

    express: Express | None = None

    @property
    def server(self) -> Any:
        """What makes the protocol of a connection."""
        plain = super().server
        if plain is not None and self.express is None:
            self.express = Express(plain, self.app)
        return self.express

    async def cleanup(self) -> None:
        """End every connection."""
        if self.express is not None:
            self.express.close()
        await super().cleanup()


class Served(TestServer):
    """A server on a free port for aiohttp's test client."""

    async def _make_runner(self, **kwargs: Any) -> Runner:
        return Runner(self.app, **kwargs)


@pytest.fixture
def serve(house: House, aiohttp_client: Any) -> Serve:
    async def start(**changes: Any) -> Client:
        client: Client = await aiohttp_client(Served(create_api(house.services(**changes))))
        return client

    return start


@pytest.fixture
async def api(serve: Serve) -> Client:
    return await serve()
