"""A front door on a loopback port, a doorman and listeners that remember what they were told."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import uvloop
from aiohttp import web

from gateway.clock import ManualClock
from gateway.sessions.client import Client, Handshake, TransportKind
from gateway.transports.doorman import Admission, Refusal, Terms, Welcome
from gateway.transports.front import Entrance
from gateway.transports.plain import respond


def pytest_asyncio_loop_factories(config, item):
    """Everything runs on both loops: they differ in what transports do when closing."""
    return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}


class Ear:
    """A listener that remembers; `echo` answers every message with itself."""

    def __init__(self, client: Client, *, echo: bool = True) -> None:
        self.client = client
        self.echo = echo
        self.messages: list[tuple[bytes, bool]] = []
        self.activity = 0
        self.congestion: list[bool] = []
        self.closed: list[tuple[int, str, bool]] = []
        self.on: Callable[[bytes], None] | None = None

    def on_message(self, payload: bytes, *, text: bool) -> None:
        self.messages.append((payload, text))
        if self.on is not None:
            self.on(payload)
        elif self.echo:
            self.client.write(self.client.encode(payload, text=text))

    def heard(self, count: int) -> bool:
        return len(self.messages) == count

    def on_activity(self) -> None:
        self.activity += 1

    def on_congested(self, *, congested: bool) -> None:
        self.congestion.append(congested)

    def on_closed(self, code: int, reason: str, *, clean: bool) -> None:
        self.closed.append((code, reason, clean))


@dataclass
class Porter:
    """A doorman who lets everybody in at once, unless told otherwise."""

    terms: Terms = field(default_factory=Terms)
    subprotocol: str = ""
    set_cookies: tuple[str, ...] = ()
    full: Refusal | None = None
    answer: Callable[[Handshake, Admission], None] | None = None
    on_attach: Callable[[Client], None] | None = None
    offered: frozenset[TransportKind] = frozenset({TransportKind.WEBSOCKET})
    asked: list[Handshake] = field(default_factory=list)
    ears: list[Ear] = field(default_factory=list)
    inside: list[str] = field(default_factory=list)

    def enter(self, remote: str) -> Refusal | None:
        if self.full is None:
            self.inside.append(remote)
        return self.full

    def leave(self, remote: str) -> None:
        self.inside.remove(remote)

    def offers(self, path: str) -> frozenset[TransportKind]:
        return self.offered

    def admit(self, handshake: Handshake, admission: Admission) -> None:
        self.asked.append(handshake)
        if self.answer is not None:
            self.answer(handshake, admission)
        else:
            admission.accept(self.welcome())

    def welcome(self) -> Welcome:
        return Welcome(
            self.attach,
            subprotocol=self.subprotocol,
            set_cookies=self.set_cookies,
            terms=self.terms,
        )

    def attach(self, client: Client) -> Ear:
        if self.on_attach is not None:
            self.on_attach(client)
        self.ears.append(Ear(client))
        return self.ears[-1]

    @property
    def ear(self) -> Ear:
        return self.ears[-1]


@dataclass
class House:
    """The front door as it stands in a test."""

    entrance: Entrance
    porter: Porter
    clock: ManualClock
    port: int
    plain: web.Server

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/a"

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.entrance.commons.sweep.expire()

    async def raw(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


async def page(request: web.BaseRequest) -> web.StreamResponse:
    body = await request.read()
    return web.Response(text=f"{request.method} {request.path} {len(body)}")


@asynccontextmanager
async def opened(porter: Porter) -> AsyncIterator[House]:
    clock = ManualClock()
    entrances: list[Entrance] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return await respond(request, entrances[0]) or await page(request)

    plain = web.Server(handle)
    entrance = Entrance(doorman=porter, plain=plain, clock=clock)
    entrances.append(entrance)
    loop = asyncio.get_running_loop()
    listening = socket.create_server(("127.0.0.1", 0))
    server = await loop.create_server(entrance, sock=listening)
    try:
        yield House(entrance, porter, clock, listening.getsockname()[1], plain)
    finally:
        server.close()
        await eventually(lambda: not porter.inside)
        await plain.shutdown()
        entrance.close()


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with opened(Porter()) as it:
        yield it


async def eventually(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for real peers, not for time."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the peer sets no event
            await asyncio.sleep(0.002)


UPGRADE = (
    b"GET /ws/a?x=1 HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
