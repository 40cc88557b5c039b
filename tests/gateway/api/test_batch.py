import asyncio
import json
import socket
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from gateway.api.app import create_api
from gateway.api.batch import message_of, read_line
from gateway.channels.publishing import Source
from gateway.errors import MessageError


async def send(api: Any, *lines: Any, **headers: str) -> list[Any]:
    body = b"\n".join(
        line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines
    )
    response = await api.post(
        "/batch", data=body, headers={"Content-Type": "application/x-ndjson", **headers}
    )
    assert response.status == 200
    assert response.content_type == "application/x-ndjson"
    return [json.loads(line) for line in (await response.text()).splitlines()]


async def test_each_line_has_its_own_result(api, house):
    await house.listen("room.1")
    results = await send(api, {"channel": "room.1", "data": 1}, {"channel": "kept.1", "data": 2})
    assert [(each["channel"], each["status"]) for each in results] == [
        ("room.1", 201),
        ("kept.1", 202),
    ]
    assert results[1]["offset"] == 1


async def test_a_bad_line_fails_alone(api, house):
    listener = await house.listen("room.1")
    results = await send(
        api,
        {"channel": "room.1", "data": 1},
        b"not json",
        b'{"channel":"room.1"}',
        b"[" * 100_000,
        {"channel": "private.1", "data": 1},
        {"channel": "a b", "data": 1},
        b'\xff{"channel":"room.1","data":1}',
        {"channel": "room.1", "data": 2},
    )
    assert [each["status"] for each in results] == [201, 400, 400, 400, 404, 400, 400, 201]
    assert results[1]["error"]["type"] == "bad_request"
    assert [data for data, _ in listener.received] == [b"1", b"2"]


async def test_a_line_that_fails_names_its_channel_where_that_can_be_read(api):
    results = await send(
        api,
        {"channel": "room.1", "data": "?", "encoding": "base64"},
        {"channel": "room.1", "data": 1, "content_type": "text/plain"},
        {"channel": "room.1"},
    )
    assert [each["channel"] for each in results] == ["room.1", "room.1", None]
    assert [each["status"] for each in results] == [400, 400, 400]


async def test_data_goes_out_as_the_json_it_is(api, house):
    listener = await house.listen("room.1")
    text = b'{"n": 12345678901234567890, "n": 1.10}'
    await send(api, b'{"channel":"room.1","data":' + text + b"}")
    assert listener.received == [(text, "application/json")]


async def test_text_and_binary_are_named(api, house):
    listener = await house.listen("room.1")
    await send(
        api,
        {"channel": "room.1", "data": "plain", "content_type": "text/plain"},
        {"channel": "room.1", "data": "/w==", "encoding": "base64"},
    )
    assert listener.received == [
        (b"plain", "text/plain"),
        (b"\xff", "application/octet-stream"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        b'{"channel":"a","data":1,"content_type":"text/plain"}',
        b'{"channel":"a","data":"x","content_type":"application/octet-stream"}',
        b'{"channel":"a","data":"?","encoding":"base64"}',
        b'{"channel":"a","data":"eA==","encoding":"rot13"}',
        b'{"channel":"a","data":"x","content_type":"text/plain\\r\\nX: y"}',
        b'{"channel":"a","data":1,"chanel":"b"}',
        b'{"channel":7,"data":1}',
        b"[]",
        b"null",
        b"\x00",
        b'{"channel":"a","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_a_line_that_cannot_be_a_message_is_refused(line):
    with pytest.raises(MessageError):
        message_of(read_line(line), "")


async def test_a_key_of_the_whole_batch_makes_it_repeatable(api, house):
    listener = await house.listen("kept.1")
    lines = [{"channel": "kept.1", "data": number} for number in range(3)]
    first = await send(api, *lines, **{"Idempotency-Key": "batch-1"})
    second = await send(api, *lines, **{"Idempotency-Key": "batch-1"})
    assert first == second
    assert len(listener.received) == 3


async def test_a_line_may_have_a_key_of_its_own(api, house):
    listener = await house.listen("kept.1")
    line = {"channel": "kept.1", "data": 1, "idempotency_key": "one"}
    await send(api, line, line)
    assert len(listener.received) == 1


async def test_empty_lines_are_nothing(api):
    assert await send(api, b"", {"channel": "room.1", "data": 1}, b"\r", b"")


async def test_thousands_of_lines_are_answered_in_order(api):
    lines = [{"channel": "kept.1", "data": number} for number in range(2345)]
    results = await send(api, *lines)
    assert [each["offset"] for each in results] == list(range(1, 2346))


async def test_what_was_sent_whole_is_published_whole_though_its_caller_goes(house):
    """Whoever wants no answer, or cannot wait for it, has said everything all the same."""
    count = 5000
    body = b'{"channel":"kept.1","data":1}\n' * count
    head = f"POST /batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    # As the worker runs it; that of the other tests cancels what its caller has left.
    runner = web.AppRunner(create_api(house.services()))
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listening).start()
    with capture_logs() as logs:
        _, writer = await asyncio.open_connection(*listening.getsockname())
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()
        async with asyncio.timeout(20):
            while house.channels.publications[Source.API] < count:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.002)
        await runner.cleanup()
    assert logs == []


async def test_a_failure_that_nobody_foresaw_still_fails_alone(api, house, monkeypatch):
    publish = house.channels.publish

    async def broken(channel, message, *, source):
        if channel == "broken":
            raise ZeroDivisionError
        return await publish(channel, message, source=source)

    monkeypatch.setattr(house.channels, "publish", broken)
    results = await send(api, {"channel": "broken", "data": 1}, {"channel": "room.1", "data": 1})
    assert [each["status"] for each in results] == [500, 202]
    assert results[0]["error"]["type"] == "internal"


async def test_a_batch_of_another_type_is_415(api):
    response = await api.post("/batch", data=b"", headers={"Content-Type": "image/png"})
    assert response.status == 415
