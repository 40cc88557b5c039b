"""Event streams, long polls, and sockets taken back from aiohttp's server."""

import asyncio
import json

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from gateway.sessions.client import EventClient, Handshake, TransportKind
from gateway.transports.doorman import Admission, Refusal, Terms
from gateway.transports.events import encode_event
from gateway.transports.eventstream import EventStream
from gateway.transports.longpoll import LongPoll, poll

from .conftest import UPGRADE, House, eventually
from .test_guard import frame

SSE = (
    b"GET /ws/a HTTP/1.1\r\nHost: here\r\nAccept: text/event-stream\r\n"
    b"Last-Event-ID: 41:abc\r\n\r\n"
)
PLAIN = b"GET /page HTTP/1.1\r\nHost: here\r\n\r\n"


@pytest.fixture(autouse=True)
def offered(house: House) -> None:
    house.porter.offered = frozenset(TransportKind)


def parse(stream: bytes) -> list[dict[str, str]]:
    """As EventSource does it: WHATWG HTML, section 9.2.6."""
    found: list[dict[str, str]] = []
    data: list[str] = []
    event: dict[str, str] = {}
    for line in stream.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if not line:
            if data:
                found.append({**event, "data": "\n".join(data)})
            data, event = [], {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                data.append(value)
            else:
                event[name] = value
    return found


@given(st.text(), st.sampled_from(["", "gap"]), st.sampled_from(["", "1:a"]))
def test_every_text_comes_out_of_the_event_as_it_went_in(text, event, event_id) -> None:
    wire = encode_event(text.encode("utf-8", "replace"), text=True, event=event, event_id=event_id)
    (found,) = parse(wire)
    sent = text.encode("utf-8", "replace").decode()
    assert found["data"] == sent.replace("\r\n", "\n").replace("\r", "\n")
    assert (found.get("event", ""), found.get("id", "")) == (event, event_id)


def test_binary_data_is_base64_in_an_event_named_binary() -> None:
    assert encode_event(b"\x00\n", text=False) == b"event: binary\ndata: AAo=\n\n"


def test_an_id_cannot_break_out_of_its_line() -> None:
    wire = encode_event(b"x", text=True, event="a\nb", event_id="1\r\ndata: y\0")
    assert wire == b"id: 1data: y\nevent: ab\ndata: x\n\n"


async def streaming(house: House, request: bytes = SSE):
    reader, writer = await house.raw()
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    assert await reader.readuntil(b"\n\n") == b":\n\n"
    return head, reader, writer


async def test_an_event_stream_is_a_response_that_does_not_end(house: House) -> None:
    house.porter.set_cookies = ("a=1", "b\r\n")
    head, reader, writer = await streaming(house)
    assert head == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
        b"Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\nConnection: close\r\n"
        b"X-Content-Type-Options: nosniff\r\n"
        b"Set-Cookie: a=1\r\n\r\n"
    )
    (asked,) = house.porter.asked
    assert (asked.kind, asked.path, asked.resume) == (TransportKind.SSE, "/ws/a", "41:abc")
    client = house.porter.ear.client
    assert isinstance(client, EventStream)
    client.write(client.encode(b"one", text=True))
    client.write(client.encode_event(b"two", text=True, content_type="", event_id="42:abc"))
    assert await reader.readuntil(b"two\n\n") == b"data: one\n\nid: 42:abc\ndata: two\n\n"
    client.ping()
    assert await reader.readuntil(b"\n\n") == b":\n\n"
    assert house.porter.ear.activity == 1
    client.close(4410, "channel closed")
    client.write(b"nothing after it")
    assert await reader.read() == b""
    writer.close()
    await eventually(lambda: house.porter.ear.closed)
    assert house.porter.ear.closed == [(4410, "channel closed", True)]


async def test_a_page_of_another_origin_that_was_let_in_may_read_its_stream(house: House) -> None:
    asked = SSE.replace(b"\r\n\r\n", b"\r\nOrigin: https://app.example\r\n\r\n")
    head, _, writer = await streaming(house, asked)
    assert b"\r\nAccess-Control-Allow-Origin: https://app.example\r\n" in head
    assert b"\r\nVary: Origin\r\n" in head
    writer.close()


async def test_an_event_stream_that_the_client_leaves_has_ended_in_order(house: House) -> None:
    _, _, writer = await streaming(house)
    writer.close()
    await eventually(lambda: house.porter.ear.closed)
    assert house.porter.ear.closed == [(1001, "", True)]
    assert house.porter.ear.client.buffered() == 0


async def test_an_event_stream_that_is_aborted_has_not(house: House) -> None:
    _, reader, writer = await streaming(house)
    house.porter.ear.client.abort()
    assert await reader.read() == b""
    writer.close()
    await eventually(lambda: house.porter.ear.closed)
    assert house.porter.ear.closed == [(1006, "", False)]


async def test_a_client_that_does_not_read_its_stream_congests_it(house: House) -> None:
    _, reader, writer = await streaming(house)
    ear = house.porter.ear
    event = ear.client.encode(b"x" * 65536, text=True)
    written = 0
    while not ear.congestion:
        ear.client.write(event)
        written += len(event)
        await asyncio.sleep(0)
    ear.client.ping()
    assert ear.client.buffered() > 0
    assert len(await reader.readexactly(written)) == written
    await eventually(lambda: ear.congestion == [True, False])
    ear.client.write(event)
    ear.client.close(1013, "")
    writer.close()


async def test_a_stream_that_cannot_be_sent_to_its_end_is_dropped_at_the_deadline(house) -> None:
    _, _, writer = await streaming(house)
    ear = house.porter.ear
    while not ear.congestion:
        ear.client.write(bytes(1 << 20))
        await asyncio.sleep(0)
    ear.client.close(1013, "slow consumer")
    house.pass_time(5.1)
    await eventually(lambda: ear.closed)
    assert ear.closed[0][0] in {1013, 1006}
    writer.close()


async def test_what_is_sent_on_an_event_stream_is_ignored(house: House) -> None:
    _, reader, writer = await streaming(house, SSE + b"early")
    writer.write(b"GET / HTTP/1.1\r\n\r\n" * 100)
    ear = house.porter.ear
    ear.client.pause_reading()
    ear.client.resume_reading()
    ear.client.write(ear.client.encode(b"x", text=True))
    assert await reader.readuntil(b"x\n\n") == b"data: x\n\n"
    writer.close()


async def test_a_refused_event_stream_is_an_ordinary_answer(house: House) -> None:
    house.porter.answer = lambda handshake, admission: admission.refuse(Refusal(403))
    reader, writer = await house.raw()
    writer.write(SSE)
    assert (await reader.read()).startswith(b"HTTP/1.1 403 Forbidden\r\n")
    writer.close()


async def test_an_exception_while_attaching_ends_the_stream(house: House) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError

    house.porter.on_attach = fail
    _, reader, writer = await streaming(house)
    assert await reader.read() == b""
    writer.close()


async def test_where_no_event_stream_is_offered_the_request_is_an_ordinary_one(house) -> None:
    house.porter.offered = frozenset({TransportKind.WEBSOCKET})
    reader, writer = await house.raw()
    writer.write(SSE)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
    assert await reader.readexactly(11) == b"GET /ws/a 0"
    writer.close()


# Sockets taken back.


async def used_before(house: House):
    """A connection that has carried an ordinary request."""
    house.porter.offered = frozenset({TransportKind.WEBSOCKET, TransportKind.SSE})
    reader, writer = await house.raw()
    writer.write(PLAIN)
    await reader.readuntil(b"GET /page 0")
    return reader, writer


async def test_an_upgrade_on_a_kept_connection_works(house: House) -> None:
    reader, writer = await used_before(house)
    writer.write(UPGRADE + frame(b"early"))
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    assert await reader.readexactly(7) == b"\x81\x05early"
    writer.write(frame(b"later"))
    assert await reader.readexactly(7) == b"\x81\x05later"
    assert house.plain.connections == []
    writer.close()
    await eventually(lambda: house.porter.ear.closed)


async def test_a_refused_upgrade_on_a_kept_connection_ends_it(house: House) -> None:
    reader, writer = await used_before(house)
    writer.write(UPGRADE.replace(b"13", b"12"))
    assert (await reader.read()).startswith(b"HTTP/1.1 426 ")
    writer.close()


async def test_nothing_is_smuggled_behind_an_upgrade_on_a_kept_connection(house: House) -> None:
    reader, writer = await used_before(house)
    writer.write(UPGRADE[:-2] + b"Content-Length: 64\r\n\r\n" + PLAIN)
    said = await reader.read()
    assert said.startswith(b"HTTP/1.1 400 ")
    assert said.count(b"HTTP/1.1") == 1
    writer.close()


async def test_an_event_stream_on_a_kept_connection_works(house: House) -> None:
    reader, writer = await used_before(house)
    writer.write(SSE)
    assert b"text/event-stream" in await reader.readuntil(b"\r\n\r\n")
    await eventually(lambda: house.porter.ears)
    ear = house.porter.ear
    ear.client.write(ear.client.encode(b"x", text=True))
    assert await reader.readuntil(b"x\n\n") == b":\n\ndata: x\n\n"
    writer.close()


async def test_a_kept_connection_is_refused_while_draining(house: House) -> None:
    reader, writer = await used_before(house)
    house.entrance.drain()
    writer.write(UPGRADE)
    assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
    writer.close()


# Long poll.


def poller(house: House) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(f"http://127.0.0.1:{house.port}")


def encoded(client: object, payload: bytes, event_id: str, content_type="text/plain") -> bytes:
    assert isinstance(client, LongPoll)
    return client.encode_event(payload, text=True, content_type=content_type, event_id=event_id)


async def test_a_long_poll_is_answered_with_the_next_message_and_where_it_stands(house) -> None:
    async with poller(house) as session:
        answer = asyncio.create_task(session.get("/ws/a?x=1"))
        await eventually(lambda: house.porter.ears)
        ear = house.porter.ear
        ear.client.write(ear.client.encode(b"not in the queue", text=True))
        ear.client.write(encoded(ear.client, b"{}\n", "7:abc", "application/json"))
        ear.client.write(encoded(ear.client, b"too late", "8:abc"))
        async with await answer as response:
            assert response.status == 200
            assert await response.read() == b"{}\n"
            assert response.content_type == "application/json"
            etag, modified = response.headers["Etag"], response.headers["Last-Modified"]
            assert response.headers["Vary"] == "If-None-Match, If-Modified-Since"
        assert ear.closed == [(1000, "", True)]

        headers = {"If-None-Match": etag, "If-Modified-Since": modified}
        answer = asyncio.create_task(session.get("/ws/a", headers=headers))
        await eventually(lambda: len(house.porter.asked) == 2)
        assert house.porter.asked[1].resume == "7:abc"
        assert (house.porter.asked[1].kind, house.porter.asked[1].path) == ("longpoll", "/ws/a")
        house.porter.ear.client.close(4410, "closed")
        async with await answer as response:
            assert response.status == 410
        assert house.porter.ear.closed == [(4410, "closed", True)]


async def test_a_poll_that_is_given_up_just_as_it_is_let_in_ends_its_session(house: House) -> None:
    """Nobody else would take it out of its channels."""
    waiting: list[Admission] = []
    house.porter.answer = lambda _, admission: waiting.append(admission)
    handshake = Handshake(TransportKind.LONGPOLL, "/", "", (), "a", 1, "b", 2, "http", "1.1")
    task = asyncio.create_task(poll(handshake, house.porter))
    await eventually(lambda: waiting)

    waiting[0].accept(house.porter.welcome())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert house.porter.ear.closed == [(1000, "", True)]
    assert house.porter.inside == []


async def test_a_long_poll_without_news_is_304(house: House) -> None:
    house.porter.terms = Terms(longpoll_wait=0.01)
    house.porter.set_cookies = ("a=1",)
    async with poller(house) as session, session.get("/ws/a") as response:
        assert response.status == 304
        assert response.headers["Set-Cookie"] == "a=1"
    assert house.porter.asked[0].resume == ""
    assert house.porter.ear.closed == [(1000, "", True)]


@pytest.mark.parametrize(
    ("code", "status"), [(4409, 409), (4403, 403), (4401, 401), (1013, 503), (1012, 304)]
)
async def test_an_end_from_above_is_told_by_its_status(house: House, code, status) -> None:
    house.porter.on_attach = lambda client: client.close(code, "")
    async with poller(house) as session, session.get("/ws/a") as response:
        assert response.status == status


async def test_a_date_alone_asks_for_what_comes_next(house: House) -> None:
    house.porter.on_attach = lambda client: client.abort()
    headers = {"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}
    async with poller(house) as session, session.get("/ws/a", headers=headers) as response:
        assert response.status == 500
    assert house.porter.asked[0].resume == "-"


async def test_long_polls_are_counted_in_and_can_be_refused(house: House) -> None:
    house.porter.full = Refusal(429, (("Retry-After", "1"), ("Connection", "x")), b"full")
    async with poller(house) as session:
        async with session.get("/ws/a") as response:
            assert (response.status, await response.read()) == (429, b"full")
            assert response.headers["Retry-After"] == "1"
        house.porter.full = None
        house.porter.answer = lambda handshake, admission: admission.refuse(Refusal(409))
        async with session.get("/ws/a") as response:
            assert response.status == 409
        house.entrance.drain()
        async with session.get("/ws/a") as response:
            assert response.status == 503


async def test_other_methods_are_none_of_our_business(house: House) -> None:
    async with poller(house) as session, session.post("/ws/a", data=b"x") as response:
        assert await response.text() == "POST /ws/a 1"


async def test_the_middleware_takes_what_is_ours_and_passes_the_rest_on(house: House) -> None:
    from gateway.transports.plain import middleware

    app = web.Application(middlewares=[middleware(lambda: house.entrance)])

    async def rest(request: web.Request) -> web.StreamResponse:
        return web.json_response({"path": request.path})

    app.router.add_route("*", "/{path:.*}", rest)
    runner = web.AppRunner(app)
    await runner.setup()
    assert runner.server is not None
    house.entrance.plain = runner.server
    reader, writer = await house.raw()
    writer.write(PLAIN.replace(b"GET", b"PUT"))
    assert json.loads((await reader.readuntil(b"}")).split(b"\r\n\r\n")[1]) == {"path": "/page"}
    writer.write(UPGRADE + frame(b"x"))
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    assert await reader.readexactly(3) == b"\x81\x01x"
    writer.close()
    await eventually(lambda: house.porter.ear.closed)
    await runner.cleanup()


def test_both_are_clients_that_receive_events() -> None:
    kinds: tuple[type[EventClient], ...] = (EventStream, LongPoll)
    assert [kind.kind for kind in kinds] == [TransportKind.SSE, TransportKind.LONGPOLL]
