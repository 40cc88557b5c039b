"""The short way of a publication: what takes it, and that the answers are the server's own."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Self

import pytest
from aiohttp import web

from gateway.api import ApiServices, create_api
from gateway.api.express import SILENCE, Caller, Express
from gateway.channels.broker import Outcome, Receipt
from gateway.channels.publication import NOWHERE
from gateway.errors import BrokerUnavailableError

from .conftest import House

DATE = re.compile(rb"Date: [^\r]+\r\n")


class Wire(asyncio.Transport):
    """A connection of which only the bytes are real."""

    def __init__(self, peer: object = ("127.0.0.1", 5000)) -> None:
        super().__init__({"peername": peer})
        self.sent = b""
        self.reading = True
        self.closed = False
        self.protocol: asyncio.BaseProtocol | None = None

    def write(self, data: Any) -> None:
        self.sent += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol


@dataclass(eq=False)
class Plain(asyncio.Protocol):
    """Stands for aiohttp's server: notes what it is handed."""

    got: list[bytes] = field(default_factory=list)
    transport: asyncio.BaseTransport | None = None

    def __call__(self) -> Self:
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.got.append(data)


@dataclass
class Desk:
    """The short way before a plain server that only listens."""

    house: House
    plain: Plain
    express: Express

    def call(self, wire: Wire | None = None) -> tuple[Caller, Wire]:
        wire = wire or Wire()
        caller = self.express()
        caller.connection_made(wire)
        return caller, wire


Opened = Callable[..., Desk]


@pytest.fixture
async def open_desk(house: House) -> AsyncIterator[Opened]:
    desks: list[Desk] = []

    def start(**changes: Any) -> Desk:
        services: ApiServices = house.services(**changes)
        plain = Plain()
        desks.append(Desk(house, plain, Express(plain, create_api(services))))
        return desks[-1]

    yield start
    for desk in desks:
        desk.express.close()


def request(
    path: str = "/channels/room.1", body: bytes = b'{"a":1}', version: str = "1.1", **headers: str
) -> bytes:
    """A publication; `Content_Type="text/html"` sets a header, an empty value leaves it out."""
    given = {
        "Host": "127.0.0.1:8081",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = [f"{name}: {value}" for name, value in given.items() if value]
    return "\r\n".join([f"POST {path} HTTP/{version}", *lines, "", ""]).encode() + body


async def test_the_common_request_is_answered_before_the_callback_returns(
    open_desk: Opened,
) -> None:
    desk = open_desk()
    listener = await desk.house.listen("room.1")
    caller, wire = desk.call()

    caller.data_received(request())

    assert DATE.sub(b"", wire.sent) == (
        b"HTTP/1.1 201 Created\r\n"
        b"Content-Type: application/json; charset=utf-8\r\n"
        b"Server: wsgate\r\n"
        b"Cache-Control: no-store\r\n"
        b"X-Content-Type-Options: nosniff\r\n"
        b"Content-Length: 40\r\n"
        b"\r\n"
        b'{"subscribers":1,"offset":0,"epoch":""}\n'
    )
    assert listener.received == [(b'{"a":1}', "application/json")]
    assert desk.plain.got == []


async def test_one_connection_serves_one_request_after_the_other(open_desk: Opened) -> None:
    desk = open_desk()
    caller, wire = desk.call()

    for number in range(3):
        caller.data_received(request("/channels/kept.1", str(number).encode()))

    assert re.findall(rb'"offset":(\d)', wire.sent) == [b"1", b"2", b"3"]
    assert wire.sent.count(b"202 Accepted") == 3


@pytest.mark.parametrize(
    "header", ["X-API-Key: s3cret", "Authorization: Bearer s3cret", "authorization: bearer s3cret"]
)
async def test_who_shows_the_key_may_come_from_anywhere(open_desk: Opened, header: str) -> None:
    desk = open_desk(api_key="s3cret")
    caller, wire = desk.call(Wire(("10.0.0.7", 5000)))

    caller.data_received(
        b"POST /channels/room.1 HTTP/1.1\r\nHost: gateway.example\r\nContent-Length: 1\r\n"
        + header.encode()
        + b"\r\n\r\n1"
    )

    assert wire.sent.startswith(b"HTTP/1.1 202 ")


@pytest.mark.parametrize(
    "unusual",
    [
        pytest.param(
            b"GET /channels/room.1 HTTP/1.1\r\nHost: localhost\r\n\r\n", id="another call"
        ),
        pytest.param(request("/channels"), id="all channels"),
        pytest.param(request("/channels/room.1/history"), id="a longer path"),
        pytest.param(request("/channels/room.1?exclude=x"), id="a query"),
        pytest.param(request("/channels/caf%C3%A9"), id="a name that is encoded"),
        pytest.param(request("/channels/.."), id="a name that is a path"),
        pytest.param(request("/channels/a*"), id="a name that no channel has"),
        pytest.param(request(Origin="https://evil.example"), id="a page"),
        pytest.param(request(Expect="100-continue"), id="who waits to be told"),
        pytest.param(request(Content_Encoding="gzip"), id="a compressed body"),
        pytest.param(request(Content_Encoding="x"), id="an unheard-of encoding"),
        pytest.param(request(Host=""), id="no host"),
        pytest.param(request(Host="evil.example"), id="a foreign host"),
        pytest.param(request(version="1.0"), id="an old protocol"),
        pytest.param(request(Connection="close"), id="who goes"),
        pytest.param(request() + request(), id="two at once"),
        pytest.param(request()[:-1], id="a part"),
        pytest.param(request()[:20], id="a part of the head"),
        pytest.param(request(Content_Length="1, 2"), id="a length that is none"),
        pytest.param(request(Content_Type="x" * 256), id="a type that is too long"),
        pytest.param(request(Content_Type="multipart/form-data"), id="a form"),
        pytest.param(request(body=b"\xff"), id="text that is not UTF-8"),
        pytest.param(request("/channels/private.1"), id="a channel that is not open"),
        pytest.param(request(body=b"1" * 65536), id="a long body"),
        pytest.param(b"POST /channels/\x00 HTTP/1.1\r\n\r\n", id="no HTTP"),
    ],
)
async def test_everything_else_goes_to_the_server_from_its_first_byte(
    open_desk: Opened, unusual: bytes
) -> None:
    desk = open_desk()
    listener = await desk.house.listen("room.1")
    caller, wire = desk.call()

    caller.data_received(unusual)

    assert desk.plain.got == [unusual]
    assert desk.plain.transport is wire
    assert wire.protocol is desk.plain
    assert wire.sent == b""
    assert listener.received == [], "it is published there, or not at all"


@pytest.mark.parametrize("shown", ["", "wrong", "s3cret "])
async def test_who_does_not_show_the_key_goes_to_the_server(open_desk: Opened, shown: str) -> None:
    desk = open_desk(api_key="s3cret!")
    caller, _ = desk.call()

    caller.data_received(request(X_API_Key=shown))

    assert len(desk.plain.got) == 1


async def test_a_body_beyond_the_limit_goes_to_the_server(open_desk: Opened) -> None:
    desk = open_desk(max_body=6)
    caller, _ = desk.call()

    caller.data_received(request(body=b"1234567"))

    assert len(desk.plain.got) == 1


class Slow:
    """Posts that are answered when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, house: House) -> None:
        self.waiting: list[Callable[[Outcome], None]] = []
        monkeypatch.setattr(house.channels, "post", self._post)

    def _post(self, *_: object, done: Callable[[Outcome], None], **__: object) -> None:
        self.waiting.append(done)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch, house: House) -> Slow:
    return Slow(monkeypatch, house)


async def test_while_an_answer_is_waited_for_nothing_is_read(open_desk: Opened, slow: Slow) -> None:
    caller, wire = open_desk().call()

    caller.data_received(request())
    assert (wire.sent, wire.reading) == (b"", False)
    caller.resume_writing()
    assert not wire.reading

    slow.waiting.pop()(Receipt(2, NOWHERE))
    assert wire.sent.startswith(b"HTTP/1.1 201 Created\r\n")
    assert wire.reading


async def test_a_broker_that_is_away_is_told_with_a_time_to_come_back(
    open_desk: Opened, slow: Slow
) -> None:
    caller, wire = open_desk().call()

    caller.data_received(request())
    slow.waiting.pop()(BrokerUnavailableError("secret place"))

    assert wire.sent.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: 1\r\n\r\n" in wire.sent
    assert b"secret place" not in wire.sent


async def test_a_caller_that_has_gone_needs_no_answer(open_desk: Opened, slow: Slow) -> None:
    desk = open_desk()
    caller, wire = desk.call()

    caller.data_received(request())
    caller.connection_lost(None)
    slow.waiting.pop()(Receipt(2, NOWHERE))

    assert wire.sent == b""
    assert not desk.express.callers


async def test_the_end_lets_answers_out_and_closes_the_rest(open_desk: Opened, slow: Slow) -> None:
    desk = open_desk()
    (_, idle), (caller, waiting) = desk.call(), desk.call()
    caller.data_received(request())

    desk.express.close()
    assert (idle.closed, waiting.closed) == (True, False)

    slow.waiting.pop()(Receipt(2, NOWHERE))
    assert waiting.sent
    assert waiting.closed


async def test_a_caller_that_does_not_read_is_not_read(open_desk: Opened) -> None:
    caller, wire = open_desk().call()

    caller.pause_writing()
    assert not wire.reading

    caller.resume_writing()
    assert wire.reading


async def test_who_is_silent_for_an_hour_is_closed(
    open_desk: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = open_desk()
    _, silent = desk.call()
    caller, busy = desk.call()
    now = desk.express.loop.time()

    monkeypatch.setattr(desk.express.loop, "time", lambda: now + SILENCE + 1)
    caller.data_received(request())
    desk.express.sweep()

    assert (silent.closed, busy.closed) == (True, False)


async def test_a_connection_of_the_server_serves_what_is_usual_too(house: House) -> None:
    """Who was handed over stays there; the same request is answered the same."""
    runner = web.AppRunner(create_api(house.services()))
    await runner.setup()
    assert runner.server is not None
    express = Express(runner.server, runner.app)
    server = await express.loop.create_server(express, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    answers = []
    asked = [request(), request("/channels/room.1?exclude=x"), request()]
    for each in asked:
        writer.write(each)
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(re.findall(rb"Content-Length: (\d+)", head)[0])
            answers.append((sorted(DATE.sub(b"", head).splitlines()), await reader.read(length)))
    writer.close()
    server.close()
    express.close()
    await runner.cleanup()

    assert answers[0] == answers[1] == answers[2]
