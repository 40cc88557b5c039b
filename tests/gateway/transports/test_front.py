"""The front door: whom it lets before the doorman, and how it turns others away."""

import asyncio
import gc
import tracemalloc

import aiohttp
import pytest
from aiohttp import web
from websockets.asyncio.client import connect, unix_connect

from gateway.clock import ManualClock
from gateway.sessions.client import TransportKind
from gateway.transports.doorman import Admission, Refusal
from gateway.transports.front import Entrance
from gateway.transports.handshake import accept_key
from gateway.transports.proxies import TrustedProxies

from .conftest import UPGRADE, House, Porter, eventually, page
from .test_guard import frame

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
GOOD = {
    "Host": "here",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}


def head(start: str = "GET /ws/a HTTP/1.1", *more: str, **changes: str | None) -> bytes:
    fields = {**GOOD, **{name.replace("_", "-"): value for name, value in changes.items()}}
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join([start, *lines, *more, "", ""]).encode()


async def answer(house: House, wire: bytes) -> bytes:
    """Everything the gateway says until it ends the connection."""
    reader, writer = await house.raw()
    writer.write(wire)
    async with asyncio.timeout(20):
        said = await reader.read()
    writer.close()
    return said


def status(said: bytes) -> int:
    return int(said.split(b" ", 2)[1])


async def test_the_101_has_the_key_of_the_rfcs_example(house: House) -> None:
    assert accept_key(KEY) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    house.porter.subprotocol = "chat"
    house.porter.set_cookies = ("a=1; Path=/", "evil=1\r\nX: y")
    reader, writer = await house.raw()
    writer.write(UPGRADE)
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    assert lines == [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "Sec-WebSocket-Protocol: chat",
        "Set-Cookie: a=1; Path=/",
        "",
        "",
    ]
    writer.close()


async def test_the_handshake_is_handed_on_as_it_came(house: House) -> None:
    extra = ("X-Two: 1", "x-two: 2", "Cookie: a=\u00e9", "Sec-WebSocket-Protocol: Chat, b")
    reader, writer = await house.raw()
    writer.write(head("GET /ws/%41?x=%20&y HTTP/1.1", *extra))
    await reader.readuntil(b"\r\n\r\n")
    (asked,) = house.porter.asked
    assert (asked.kind, asked.path, asked.query) == (TransportKind.WEBSOCKET, "/ws/%41", "x=%20&y")
    assert [value for name, value in asked.headers if name == "x-two"] == ["1", "2"]
    assert asked.header("cookie") == "a=\u00e9"
    assert asked.subprotocols == ("Chat", "b")
    assert (asked.remote, asked.scheme, asked.http_version) == ("127.0.0.1", "http", "1.1")
    assert asked.remote_port == writer.get_extra_info("sockname")[1]
    assert (asked.server, asked.server_port) == ("127.0.0.1", house.port)
    writer.close()


MATRIX = {
    "version 0": (head(Sec_WebSocket_Version="0"), {426}),
    "version 8": (head(Sec_WebSocket_Version="8"), {426}),
    "version 12": (head(Sec_WebSocket_Version="12"), {426}),
    "version 14": (head(Sec_WebSocket_Version="14"), {426}),
    "no version": (head(Sec_WebSocket_Version=None), {426}),
    "two versions": (head("GET / HTTP/1.1", "Sec-WebSocket-Version: 13"), {400, 426}),
    "no key": (head(Sec_WebSocket_Key=None), {400}),
    "short key": (head(Sec_WebSocket_Key="c2hvcnQ="), {400}),
    "no base64": (head(Sec_WebSocket_Key="#" * 24), {400}),
    "two keys": (head("GET / HTTP/1.1", f"Sec-WebSocket-Key: {KEY}"), {400}),
    "HTTP/1.0": (head("GET / HTTP/1.0"), {400}),
    "POST": (head("POST / HTTP/1.1"), {405}),
    "no Connection token": (head(Connection="keep-alive"), {400}),
    "no Connection": (head(Connection=None), {400}),
    "no Host": (head(Host=None), {400}),
    "a body": (head(Content_Length="5") + b"hello", {400}),
    "chunks": (head(Transfer_Encoding="chunked") + b"0\r\n\r\n", {400}),
    "bad subprotocol": (head(Sec_WebSocket_Protocol="a b"), {400}),
    "absolute target": (head("GET http://here/ws HTTP/1.1"), {400}),
    "bad request line": (head("GET  /ws  HTTP/1.1 x"), {400}),
    "bad header": (head("GET / HTTP/1.1", "no colon here"), {400}),
    "NUL": (head("GET / HTTP/1.1", "X: a\0b"), {400}),
    "long line": (head(f"GET /{'a' * 9000} HTTP/1.1"), {400, 414}),
    "long address": (UPGRADE.replace(b" HTTP", b"a" * 9000 + b" HTTP"), {414}),
    "large head": (head("GET / HTTP/1.1", *[f"X-{i}: {'a' * 200}" for i in range(99)]), {431}),
    "long header": (UPGRADE[:-2] + b"X: " + b"a" * 9000 + b"\r\n\r\n", {431}),
    "endless head": (b"GET / HTTP/1.1\r\nX: " + b"a" * 20000, {431}),
}


@pytest.mark.parametrize("name", MATRIX)
async def test_a_handshake_that_is_none_is_refused_before_the_doorman(house, name) -> None:
    wire, statuses = MATRIX[name]
    said = await answer(house, wire)
    assert status(said) in statuses
    assert b"Connection: " in said
    if status(said) == 426:
        assert b"\r\nSec-WebSocket-Version: 13\r\n" in said
    assert house.porter.asked == []


async def test_another_upgrade_is_an_ordinary_request(house: House) -> None:
    said = await answer(house, head(Upgrade="notwebsocket", Connection="Upgrade, close"))
    assert status(said) == 200
    assert house.porter.asked == []


@pytest.mark.parametrize(
    "body", [head(Content_Length="64"), head(Transfer_Encoding="chunked") + b"0\r\n\r\n"]
)
async def test_a_request_hidden_behind_an_upgrade_is_never_answered(house, body) -> None:
    said = await answer(house, body + b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n" + UPGRADE)
    assert status(said) == 400
    assert said.count(b"HTTP/1.1") == 1


async def test_a_refusal_is_answered_whole_and_cannot_be_split(house: House) -> None:
    headers = (
        ("Location", "/login"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Length", "1"),
        ("X-Evil", "a\r\nSet-Cookie: b"),
        ("X Evil", "a"),
    )
    refused = Refusal(302, headers, b"go there")
    house.porter.answer = lambda handshake, admission: admission.refuse(refused)
    said = await answer(house, UPGRADE)
    assert said == (
        b"HTTP/1.1 302 Found\r\nLocation: /login\r\nConnection: close\r\n"
        b"Content-Length: 8\r\n\r\ngo there"
    )
    await eventually(lambda: not house.porter.inside)


@pytest.mark.parametrize(("given", "sent"), [(200, 500), (101, 500), (700, 500), (599, 599)])
async def test_what_would_not_be_a_refusal_is_500(house: House, given, sent) -> None:
    house.porter.answer = lambda handshake, admission: admission.refuse(Refusal(given))
    assert status(await answer(house, UPGRADE)) == sent


async def test_whoever_does_not_fit_in_is_refused_before_anything_is_asked(house: House) -> None:
    house.porter.full = Refusal(503, (("Retry-After", "5"),))
    said = await answer(house, UPGRADE)
    assert status(said) == 503
    assert b"\r\nRetry-After: 5\r\n" in said
    assert house.porter.asked == []


async def test_a_drained_door_answers_503(house: House) -> None:
    async with connect(house.url) as inside:
        house.entrance.drain()
        assert status(await answer(house, UPGRADE)) == 503
        assert status(await answer(house, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")) == 503
        await inside.send("still here")
        assert await inside.recv() == "still here"


async def test_the_head_must_be_complete_in_time_even_when_it_dribbles(house: House) -> None:
    silent, dribbling = await house.raw(), await house.raw()
    await eventually(lambda: len(house.entrance.commons.heads) == 2)
    for byte in UPGRADE[:3]:
        dribbling[1].write(bytes((byte,)))
        await dribbling[1].drain()
        house.pass_time(3)
    house.pass_time(2)
    for reader, writer in (silent, dribbling):
        assert status(await reader.read()) == 408
        writer.close()
    await eventually(lambda: not len(house.entrance.commons.closing))


async def test_a_head_that_arrives_byte_by_byte_is_understood(house: House) -> None:
    reader, writer = await house.raw()
    for byte in UPGRADE:
        writer.write(bytes((byte,)))
        await asyncio.sleep(0)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    writer.close()


async def test_a_client_that_is_silent_costs_no_timer_of_its_own(house: House) -> None:
    pairs = [await house.raw() for _ in range(20)]
    await eventually(lambda: len(house.entrance.commons.heads) == 20)
    for _, writer in pairs:
        writer.close()
    await eventually(lambda: not len(house.entrance.commons.heads))


class Waiter:
    """Takes admissions and answers later."""

    def __init__(self, porter: Porter) -> None:
        porter.answer = self.take
        self.admissions: list[Admission] = []

    def take(self, handshake, admission) -> None:
        self.admissions.append(admission)


async def test_what_a_client_sends_before_it_is_let_in_is_delivered_afterwards(house) -> None:
    waiter = Waiter(house.porter)
    reader, writer = await house.raw()
    writer.write(UPGRADE + frame(b"early"))
    await eventually(lambda: waiter.admissions)
    house.pass_time(60)  # the deadline for the head no longer counts
    writer.write(frame(b"bird"))
    await asyncio.sleep(0.01)
    waiter.admissions[0].accept(house.porter.welcome())
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(13) == b"\x81\x05early\x81\x04bird"
    waiter.admissions[0].refuse(Refusal(500))  # only the first answer counts
    waiter.admissions[0].accept(house.porter.welcome())
    writer.close()
    assert len(house.porter.ears) == 1


async def test_a_client_that_gives_up_while_it_waits_is_noticed(house: House) -> None:
    waiter = Waiter(house.porter)
    _, writer = await house.raw()
    writer.write(UPGRADE)
    await eventually(lambda: waiter.admissions)
    writer.close()
    (admission,) = waiter.admissions
    await eventually(lambda: admission.gone)
    admission.accept(house.porter.welcome())
    assert house.porter.ears == []
    assert house.porter.inside == []


async def test_a_client_that_talks_without_end_before_it_is_let_in_is_dropped(house) -> None:
    waiter = Waiter(house.porter)
    _, writer = await house.raw()
    writer.write(UPGRADE)
    await eventually(lambda: waiter.admissions)
    writer.write(bytes(70_000))
    await eventually(lambda: waiter.admissions[0].gone)
    writer.close()


async def test_other_requests_are_served_by_aiohttp_on_a_kept_connection(house: House) -> None:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{house.port}") as session:
        for _ in range(3):
            async with session.post("/page", data=b"x" * 50_000) as response:
                assert await response.text() == "POST /page 50000"


async def test_a_first_message_in_the_same_segment_as_the_head_is_delivered(house) -> None:
    reader, writer = await house.raw()
    writer.write(UPGRADE + frame(b"hi"))
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(4) == b"\x81\x02hi"
    writer.close()


async def test_a_client_behind_a_trusted_proxy_has_its_own_address(house: House) -> None:
    house.entrance.proxies = TrustedProxies(["127.0.0.0/8"])
    headers = {"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Proto": "https"}
    async with connect(house.url, additional_headers=headers):
        (asked,) = house.porter.asked
        assert (asked.remote, asked.remote_port, asked.scheme) == ("198.51.100.7", 0, "https")
        assert house.porter.inside == ["198.51.100.7"]


async def test_unix_sockets_work(tmp_path) -> None:
    porter = Porter()
    entrance = Entrance(doorman=porter, plain=web.Server(page), clock=ManualClock())
    path = str(tmp_path / "public.sock")
    server = await asyncio.get_running_loop().create_unix_server(entrance, path)
    async with unix_connect(path, uri="ws://here/ws/a") as client:
        await client.send("x")
        assert await client.recv() == "x"
        assert (porter.asked[0].remote, porter.asked[0].server) == ("unix:", "unix:")
    await eventually(lambda: not porter.inside)
    server.close()
    entrance.close()


async def test_churn_leaves_nothing_behind(house: House) -> None:
    async def once() -> None:
        reader, writer = await house.raw()
        writer.write(UPGRADE + frame(b"x"))
        await reader.readuntil(b"\x81\x01x")
        writer.close()
        await writer.wait_closed()

    for _ in range(20):
        await once()
    await eventually(lambda: not house.porter.inside)
    house.porter.ears.clear()
    house.porter.asked.clear()
    gc.collect()
    tracemalloc.start()
    for _ in range(100):
        await once()
        house.porter.ears.clear()
        house.porter.asked.clear()
    await eventually(lambda: not house.porter.inside)
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 100_000
