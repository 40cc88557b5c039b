"""A gateway without sockets: sessions, routes and channels are real, PHP and clients are not.

`House` is put together from a route as the YAML has it. `House.pool` stands in for php-fpm and
answers when the test says so; `FakeClient` stands in for a browser and keeps what it is sent.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastcgi import Exchange, FastCGIError, Pool, Response
from fastcgi.errors import PoolClosedError
from fastcgi.params import decode
from gateway.backend.queries import Databases
from gateway.brokers.memory import MemoryBroker
from gateway.channels.publication import JSON_TYPE, Message
from gateway.channels.publishing import Source
from gateway.channels.service import ChannelService
from gateway.clock import ManualClock
from gateway.config.loading import parse
from gateway.metrics import Metrics
from gateway.server.runtime import Runtime
from gateway.sessions.admission import Arrival, begin, complete
from gateway.sessions.client import Handshake, TransportKind
from gateway.sessions.farewell import Farewell
from gateway.sessions.joining import PhpAuthorizer
from gateway.sessions.services import Services
from gateway.sessions.session import Session


def params_of(exchange: Exchange) -> dict[str, str]:
    """What `$_SERVER` would have got; a name that comes twice is a mistake."""
    pairs = [pair for block in exchange.params for pair in decode(block)]
    names = [name.decode() for name, _ in pairs]
    assert len(set(names)) == len(names), sorted(names)
    return {name.decode(): value.decode("utf-8", "surrogateescape") for name, value in pairs}


def response(
    body: bytes | str = b"",
    status: int = 200,
    *,
    headers: Mapping[str, str] | tuple[tuple[str, str], ...] = (),
    content_type: str = "application/json",
    stderr: bytes = b"",
) -> Response:
    """An answer of PHP's."""
    more = tuple(headers.items()) if isinstance(headers, Mapping) else headers
    data = body.encode() if isinstance(body, str) else body
    lowered = tuple((name.lower(), value) for name, value in more)
    return Response(status, (("content-type", content_type), *lowered), data, stderr)


class FakePool(Pool):
    """Takes requests and answers them when told to. `closed` makes it refuse them."""

    def __init__(self) -> None:
        self.requests: list[Exchange] = []
        self.refusal: FastCGIError | None = None

    def submit(self, exchange: Exchange) -> None:
        if self.refusal is not None:
            raise self.refusal
        exchange.sent_at = exchange.queued_at = 1.0
        self.requests.append(exchange)

    @property
    def events(self) -> list[str]:
        """What the waiting requests are about."""
        return [params_of(request)["WS_EVENT"] for request in self.requests]

    @property
    def bodies(self) -> list[bytes]:
        """What the waiting requests say."""
        return [request.body for request in self.requests]

    @property
    def server(self) -> dict[str, str]:
        """`$_SERVER` of the oldest request that waits."""
        return params_of(self.requests[0])

    def answer(self, body: bytes | str = b"", status: int = 200, **more: Any) -> None:
        """Answer the oldest request."""
        self.answer_with(response(body, status, **more))

    def answer_with(self, answer: Response, place: int = 0) -> None:
        self.requests.pop(place).on_response(answer)

    def fail(self, error: FastCGIError | None = None) -> None:
        """The oldest request gets no answer."""
        self.requests.pop(0).on_failure(error or PoolClosedError())

    async def drain(self, timeout: float) -> bool:  # noqa: ASYNC109 - the pool's interface
        return True

    async def close(self) -> None:
        """Nothing was opened."""


class FakeDatabase:
    """Takes statements and answers them when told to."""

    def __init__(self, *, max_connections: int = 4, timeout: float = 5.0) -> None:
        self.max_connections = max_connections
        self.timeout = timeout
        self.asked: list[tuple[str, tuple[Any, ...]]] = []
        """What is under way, oldest first."""
        self._answers: list[asyncio.Future[bytes]] = []

    async def rows(self, statement: str, values: Sequence[Any]) -> bytes:
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.asked.append((statement, tuple(values)))
        self._answers.append(answer)
        return await answer

    async def settled(self) -> None:
        """Nothing goes on."""

    async def close(self) -> None:
        """Nothing was opened."""

    async def answer(self, rows: bytes | Exception = b"[]", *, place: int = 0) -> None:
        """End what is under way, and wait for what follows from it."""
        self.asked.pop(place)
        answer = self._answers.pop(place)
        if isinstance(rows, bytes):
            answer.set_result(rows)
        else:
            answer.set_exception(rows)
        for _ in range(5):
            await asyncio.sleep(0)


CONGESTED = 64 * 1024


@dataclass
class FakeClient:
    """A client that keeps what it is sent: `frames` as (text or binary, bytes).

    While it is `stuck` it takes nothing, and more than `CONGESTED` bytes congest it.
    """

    kind: TransportKind = TransportKind.WEBSOCKET
    encoding: object = "fake"
    frames: list[str | bytes] = field(default_factory=list)
    closed: tuple[int, str] | None = None
    aborted: bool = False
    pings: int = 0
    paused: bool = False
    unread: int = 0
    stuck: bool = False
    kept: list[tuple[bytes, bool]] = field(default_factory=list)
    session: Session | None = None

    def encode(self, payload: bytes, *, text: bool) -> bytes:
        return (b"t" if text else b"b") + payload

    def write(self, encoded: bytes) -> None:
        if self.closed is None:
            payload = encoded[1:]
            self.frames.append(payload.decode() if encoded[:1] == b"t" else payload)
        if self.stuck and self.session is not None:
            before = self.unread
            self.unread += len(encoded)
            if before <= CONGESTED < self.unread:
                self.session.on_congested(congested=True)

    def buffered(self) -> int:
        return self.unread

    def close(self, code: int, reason: str) -> None:
        if self.closed is None:
            self.closed = (code, reason)

    def abort(self) -> None:
        self.aborted = True

    def ping(self) -> None:
        self.pings += 1

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False
        while self.kept and not self.paused:
            payload, text = self.kept.pop(0)
            self.say(payload, text=text)

    # What the test has the client do.

    def say(self, *payloads: bytes | str, text: bool = True) -> None:
        """Send messages; what is not read yet waits, as in a transport."""
        assert self.session is not None
        for payload in payloads:
            data = payload.encode() if isinstance(payload, str) else payload
            if self.paused:
                self.kept.append((data, text))
            else:
                self.session.on_message(data, text=text)

    def ask(self, **command: Any) -> None:
        """Send a command of the json wire."""
        self.say(json.dumps(command))

    def go(self, code: int = 1000, reason: str = "", *, clean: bool = True) -> None:
        """End the connection."""
        assert self.session is not None
        session, self.session = self.session, None
        session.on_closed(code, reason, clean=clean)

    @property
    def told(self) -> list[Any]:
        """The text frames as JSON values."""
        return [json.loads(frame) for frame in self.frames]

    @property
    def last(self) -> Any:
        return json.loads(self.frames[-1])


ROUTE = {"name": "test", "path": "/ws", "upstream": "app", "script": "/ws.php"}


def handshake(
    path: str = "/ws",
    query: str = "",
    *,
    headers: tuple[tuple[str, str], ...] = (),
    subprotocols: tuple[str, ...] = (),
    scheme: str = "http",
) -> Handshake:
    return Handshake(
        kind=TransportKind.WEBSOCKET,
        path=path,
        query=query,
        headers=(("host", "example.com"), *headers),
        remote="192.0.2.7",
        remote_port=5000,
        server="192.0.2.1",
        server_port=8080,
        scheme=scheme,
        http_version="1.1",
        subprotocols=subprotocols,
    )


class House:
    """Everything of a worker but its sockets. Made and closed inside the event loop."""

    def __init__(
        self,
        *,
        upstream: Mapping[str, Any] | None = None,
        client: Mapping[str, Any] | None = None,
        channels: list[dict[str, Any]] | None = None,
        rate: float | None = None,
        database: FakeDatabase | None = None,
        **route: Any,
    ) -> None:
        app = {"address": "unix:/nowhere", "document_root": "/srv", **(upstream or {})}
        self.document = {
            "upstreams": {"app": app},
            "client": dict(client or {}),
            "routes": [{**ROUTE, **route}],
            "channels": channels or [],
            "databases": {} if database is None else {"main": "postgresql://nowhere/none"},
        }
        self.database = database
        self.clock = ManualClock()
        self.metrics = Metrics("test")
        self.pool = FakePool()
        self.runtime = self.read()
        self.broker = MemoryBroker()
        self.channels = ChannelService(
            self.broker,
            self.runtime.policies,
            authorizer=PhpAuthorizer(self.runtime.authorizer),
        )
        self.farewell = Farewell(rate)
        self.services = Services(
            self.clock, self.channels, self.metrics, self.farewell, push_base="http://push"
        )

    def read(self, **route: Any) -> Runtime:
        """The configuration anew, with changes to the route."""
        self.document["routes"][0].update(route)  # type: ignore[index]
        config = parse(json.dumps(self.document), name="test.yaml", folder=Path())
        runtime = Runtime(config, self.metrics)
        for upstream in runtime.upstreams:
            upstream.pool = self.pool
        if self.database is not None:
            runtime.databases = Databases({"main": self.database})
            runtime.take_over()
        return runtime

    async def start(self) -> "House":
        await self.channels.start()
        self.services.tasks.spawn(self.farewell.run(), name="disconnect events")
        return self

    async def stop(self) -> None:
        await self.services.tasks.close()
        await self.services.leaving.close()
        self.runtime.errands.close()
        await self.runtime.databases.tasks.close()
        await self.channels.stop()

    def begin(self, path: str = "/ws", query: str = "", **more: Any) -> Arrival:
        found = self.runtime.match(path)
        assert found is not None
        route, gate, variables = found
        return begin(handshake(path, query, **more), route, variables, gate, self.services)

    def enter(self, arrival: Arrival) -> FakeClient:
        client = FakeClient()
        client.session = arrival.session.attach(client)
        return client

    async def connect(self, path: str = "/ws", query: str = "", **more: Any) -> FakeClient:
        """Let a client in; where PHP hears `connect`, the test must answer it meanwhile."""
        arrival = self.begin(path, query, **more)
        if arrival.waits:
            await complete(arrival)
        return self.enter(arrival)

    async def publish(self, channel: str, data: str = '"news"', **more: Any) -> None:
        message = Message(data.encode(), more.pop("content_type", JSON_TYPE), **more)
        await self.channels.publish(channel, message, source=Source.API)

    async def settle(self) -> None:
        """Let every task get as far as it can without PHP."""
        for _ in range(20):
            await asyncio.sleep(0)
