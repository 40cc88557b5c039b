"""Event streams and long polls from the socket to the channel: a whole worker, plain HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.downstream import Gateway, Stream, gateway


@pytest.fixture
async def served() -> AsyncIterator[Gateway]:
    async with gateway(longpoll_wait="200ms") as made:
        yield made


@pytest.fixture
async def http(served: Gateway) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(served.url) as session:
        yield session


async def test_an_event_stream_hears_its_channels_and_goes_on_where_it_was(served) -> None:
    stream = await (await Stream.open(served.port, "/kept/a")).placed()
    assert stream.head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"X-Accel-Buffering: no\r\n" in stream.head
    await served.say("kept.a", "one", "two\nlines", b"\x00\xff")
    assert await stream.data(2) == ["one", "two\nlines"]
    binary = await stream.event()
    assert (binary["event"], binary["data"]) == ("binary", "AP8=")
    stream.close()
    await served.inside(0)
    await served.say("kept.a", "three", "four")
    stream = await Stream.open(served.port, "/kept/a", stream.last_id)
    assert await stream.data(2) == ["three", "four"]
    await served.say("kept.a", "five")
    assert await stream.data(1) == ["five"]
    stream.close()


async def test_what_cannot_be_continued_is_a_gap(served: Gateway) -> None:
    stream = await (await Stream.open(served.port, "/both")).placed()
    await served.say("kept.b", "b1")
    assert await stream.data(1) == ["b1"]
    stream.close()
    await served.inside(0)
    await served.say("kept.a", "a1")
    await served.say("kept.b", *"abcdef")
    stream = await Stream.open(served.port, "/both", stream.last_id)
    assert await stream.data(1) == ["a1"]
    gap = await stream.event()
    assert (gap["event"], json.loads(gap["data"])) == ("gap", {"channel": "kept.b", "gap": True})
    stream.close()


@pytest.mark.parametrize("garbage", ["-1:x", "9" * 8000, "\u00ff", "x,y;z", "1:2:3:4", "0:" * 99])
async def test_a_last_event_id_is_never_a_mistake(served: Gateway, garbage: str) -> None:
    await served.say("kept.a", "one")
    stream = await Stream.open(served.port, "/kept/a", garbage)
    assert b" 200 OK" in stream.head
    assert (await stream.event())["event"] == "gap"
    await served.say("kept.a", "two")
    assert await stream.data(1) == ["two"]
    stream.close()


async def test_a_channel_that_is_closed_ends_its_streams(served: Gateway) -> None:
    await served.worker.channels.open("explicit")
    stream = await (await Stream.open(served.port, "/explicit")).placed()
    await served.worker.channels.close("explicit")
    assert await stream.rest() == b""
    stream.close()
    refused = await Stream.open(served.port, "/explicit")
    assert b" 403 " in refused.head
    refused.close()


async def test_a_quiet_stream_gets_a_comment_at_the_ping_interval() -> None:
    async with gateway(ping_interval="5s") as served:
        stream = await (await Stream.open(served.port, "/kept/a")).placed()
        for _ in range(2):
            served.clock.advance(7)
            served.worker.services.keepalive.sweep(served.clock.monotonic())
            async for fields in stream.blocks():
                assert fields == {":": ""}
                break
        assert len(served.worker.services.directory) == 1
        stream.close()


async def poll(
    http: aiohttp.ClientSession, path: str, before: Any = None
) -> tuple[int, str, dict[str, str]]:
    validators = {}
    if before is not None:
        validators = {"If-None-Match": before["Etag"], "If-Modified-Since": before["Last-Modified"]}
    async with http.get(path, headers=validators) as response:
        return response.status, await response.text(), dict(response.headers)


async def test_long_polls_walk_the_queue_and_wait_at_its_end(served, http) -> None:
    await served.say("kept.a", *"abcde")
    found, headers = [], None
    for _ in range(4):
        status, text, headers = await poll(http, "/kept/a", headers)
        assert status == 200
        assert headers["Content-Type"] == "text/plain; charset=utf-8"
        found.append(text)
    assert found == list("bcde"), "the oldest that is kept comes first"
    status, text, _ = await poll(http, "/kept/a", headers)
    assert (status, text) == (304, "")
    waiting = asyncio.create_task(poll(http, "/kept/a", headers))
    await served.inside(1)
    await served.say("kept.a", "f", "g")
    status, text, headers = await waiting
    assert (status, text) == (200, "f")
    assert (await poll(http, "/kept/a", headers))[1] == "g"
    await served.inside(0)


async def test_a_poll_of_a_channel_without_history_waits_for_news(served, http) -> None:
    assert (await poll(http, "/plain"))[0] == 304
    waiting = asyncio.create_task(poll(http, "/plain"))
    await served.inside(1)
    await served.say("plain", "news")
    status, text, headers = await waiting
    assert (status, text, headers["Etag"]) == (200, "news", '"-"')
    assert (await poll(http, "/plain", headers))[0] == 304


async def test_polls_are_refused_to_foreign_pages_and_never_taken_for_scripts(served, http) -> None:
    await served.say("kept.a", "x")
    for origin, status in (("http://evil.example", 403), (served.url, 200)):
        async with http.get("/kept/a", headers={"Origin": origin}) as response:
            assert response.status == status
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Access-Control-Allow-Origin"] == served.url


async def test_the_answers_of_the_push_relay_protocol(served, http) -> None:
    assert (await poll(http, "/explicit"))[0] == 403
    await served.worker.channels.open("explicit")
    waiting = asyncio.create_task(poll(http, "/explicit"))
    await served.inside(1)
    await served.worker.channels.close("explicit")
    assert (await waiting)[0] == 410
    first = asyncio.create_task(poll(http, "/one"))
    await served.inside(1)
    assert (await poll(http, "/one"))[0] == 409
    await served.say("one", "x")
    assert (await first)[:2] == (200, "x")


@pytest.mark.parametrize("garbage", ["x", "-1:y", "9" * 5000, '"', "W/"])
async def test_an_etag_is_never_a_mistake(served: Gateway, http, garbage: str) -> None:
    await served.say("kept.a", "one")
    async with http.get("/kept/a", headers={"If-None-Match": f'"{garbage}"'}) as response:
        assert (response.status, await response.text()) == (200, "one")


async def test_a_poll_that_is_given_up_leaves_nothing_behind() -> None:
    """At once, and not only when its wait is over."""
    async with gateway(longpoll_wait="1h") as served:
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"GET /plain HTTP/1.1\r\nHost: here\r\n\r\n")
        await served.inside(1)
        writer.close()
        await writer.wait_closed()
        await served.inside(0)
        async with asyncio.timeout(10):
            while served.worker.channels.subscriptions:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.002)


async def test_a_poll_outlives_the_pings() -> None:
    limits = {"ping_interval": "5s", "pong_timeout": "1s", "longpoll_wait": "60s"}
    async with gateway(**limits) as served, aiohttp.ClientSession(served.url) as http:
        waiting = asyncio.create_task(poll(http, "/plain"))
        await served.inside(1)
        for _ in range(20):
            served.clock.advance(3)
            served.worker.services.keepalive.sweep(served.clock.monotonic())
        await served.say("plain", "late")
        assert (await waiting)[:2] == (200, "late")


async def test_every_address_says_what_it_speaks(served: Gateway, http) -> None:
    for method, path, status in (
        ("GET", "/websocket", 426),
        ("GET", "/stream", 406),
        ("POST", "/stream", 406),
        ("POST", "/kept/a", 426),
        ("GET", "/nowhere", 404),
    ):
        async with http.request(method, path) as response:
            assert (response.status, path) == (status, path)
            assert (await response.json())["error"]["code"] == status


async def test_a_websocket_a_stream_and_a_poll_of_one_route_hear_the_same(served, http) -> None:
    stream = await (await Stream.open(served.port, "/kept/a")).placed()
    waiting = asyncio.create_task(poll(http, "/kept/a"))
    async with http.ws_connect("/kept/a") as websocket:
        await served.inside(3)
        await served.say("kept.a", "hello")
        assert await websocket.receive_str(timeout=10) == "hello"
    assert await stream.data(1) == ["hello"]
    assert (await waiting)[1] == "hello"
    stream.close()


async def test_streams_and_polls_end_when_the_gateway_stops() -> None:
    async with gateway() as served:
        stream = await (await Stream.open(served.port, "/kept/a")).placed()
        async with aiohttp.ClientSession(served.url) as http:
            waiting = asyncio.create_task(poll(http, "/plain"))
            await served.inside(2)
            await served.worker.stop()
            assert (await waiting)[0] == 304
        assert await stream.rest() == b""
        stream.close()
