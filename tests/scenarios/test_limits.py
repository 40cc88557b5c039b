"""What a client may do, and what becomes of one that does more."""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.inprocess import Gateway, ask, closed

Start = Callable[..., Awaitable[Gateway]]

LENGTH = "echo $_SERVER['CONTENT_LENGTH'];"


async def test_a_message_of_just_the_limit_is_delivered_and_one_byte_more_closes(
    start: Start,
) -> None:
    gateway = await start(client={"max_message": "10KiB"})
    async with gateway.connect() as client:
        assert await ask(client, LENGTH + " " * (10240 - len(LENGTH))) == "10240"
        await client.send([LENGTH, " " * (10240 - len(LENGTH))])
        assert await client.recv() == "10240"
        await client.send(LENGTH + " " * (10241 - len(LENGTH)))
        assert (await closed(client))[0] == 1009
    async with gateway.connect() as client:
        await client.send([LENGTH, " " * (10241 - len(LENGTH))])
        assert (await closed(client))[0] == 1009


async def test_a_route_may_have_a_limit_of_its_own(start: Start) -> None:
    gateway = await start(routes=[{"path": "/small", "script": "/ws.php", "max_message": 64}])
    async with gateway.connect("/small") as client:
        await client.send("x" * 65)
        assert (await closed(client))[0] == 1009
    async with gateway.connect() as client:
        assert await ask(client, LENGTH + " " * 1000) == str(len(LENGTH) + 1000)


async def test_at_most_1024_fragments(start: Start) -> None:
    gateway = await start()
    async with gateway.connect() as client:
        await client.send([LENGTH, *[" "] * 1022])
        assert await client.recv() == str(len(LENGTH) + 1022)
        await client.send([LENGTH, *[" "] * 1100])
        assert (await closed(client))[0] == 1009


async def test_an_idle_client_is_closed(start: Start) -> None:
    gateway = await start(client={"idle_timeout": "1s"})
    async with gateway.connect() as client:
        assert await closed(client) == (1000, "idle")


async def test_a_client_that_answers_pings_stays_and_one_that_does_not_is_dropped(
    start: Start,
) -> None:
    gateway = await start(client={"ping_interval": "1s", "pong_timeout": "1s"})
    reader, writer = await raw(gateway)
    alive = await gateway.connect()
    try:
        async with asyncio.timeout(10):
            assert await reader.readexactly(2) == b"\x89\x00", "a ping"
            assert await reader.read(100) == b""
        await gateway.until(lambda: gateway.events)
        assert gateway.events[0]["body"] == {"code": 1006, "reason": "", "clean": False}
        assert await ask(alive, "echo 1;") == "1"
    finally:
        writer.close()
        await alive.close()


async def raw(gateway: Gateway) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A WebSocket that does nothing by itself."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert b"101" in await reader.readline()
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def test_a_handshake_that_does_not_come_is_ended(start: Start) -> None:
    gateway = await start(client={"handshake_timeout": "500ms"})
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET /ws HTTP/1.1\r\nHost: x\r\n")
    try:
        async with asyncio.timeout(5):
            assert b"408" in await reader.readline()
    finally:
        writer.close()


async def test_too_many_messages(start: Start) -> None:
    gateway = await start(client={"message_rate": "3/s"})
    async with gateway.connect() as client:
        for number in range(5):
            await client.send(f"echo {number};")
        frames = []
        with contextlib.suppress(ConnectionClosed):
            while True:
                frames.append(await client.recv())
        assert client.close_code == 1008
    errors = [json.loads(frame)["error"]["code"] for frame in frames if "error" in str(frame)]
    assert errors == [429]


async def test_the_gateway_is_full(start: Start) -> None:
    gateway = await start(client={"max_connections": 2})
    first = await gateway.connect()
    async with gateway.connect():
        with pytest.raises(InvalidStatus) as caught:
            await gateway.connect()
        assert caught.value.response.status_code == 503
        assert "Retry-After" in caught.value.response.headers
        await first.close()
        await gateway.until(lambda: len(gateway.worker.services.directory) == 1)
        async with asyncio.timeout(5):
            while True:
                try:
                    async with gateway.connect():
                        break
                except InvalidStatus:
                    await asyncio.sleep(0.01)


async def test_too_many_from_one_address(start: Start) -> None:
    gateway = await start(client={"max_connections_per_ip": 1}, trusted_proxies=["127.0.0.1"])
    one: dict[str, Any] = {"additional_headers": {"X-Forwarded-For": "203.0.113.1"}}
    other: dict[str, Any] = {"additional_headers": {"X-Forwarded-For": "203.0.113.2"}}
    async with gateway.connect(**one), gateway.connect(**other):
        with pytest.raises(InvalidStatus) as caught:
            await gateway.connect(**one)
        assert caught.value.response.status_code == 429


async def test_a_client_that_reads_nothing_is_closed_and_the_others_notice_nothing(
    start: Start,
) -> None:
    gateway = await start(client={"send_buffer": "64KiB"})
    reader, writer = await raw(gateway)
    async with gateway.connect() as healthy:
        slow = next(
            session
            for session in gateway.worker.services.directory
            if session.remote and session.id
        )
        await ask(healthy, "header('WS-Subscribe: news'); echo 1;")
        for session in gateway.worker.services.directory:
            await gateway.worker.channels.join(session, "news")
        publish = (
            "header('WS-Publish: news'); header('WS-Exclude: self'); echo str_repeat('x', 9e5);"
        )
        deadline = time.monotonic() + 20
        while slow.open and len(gateway.worker.services.directory) == 2:
            assert time.monotonic() < deadline
            await healthy.send(publish)
            assert await ask(healthy, "echo 'fine';") == "fine"
        assert gateway.worker.metrics.slow_consumers_total.labelled().value == 1
        assert await ask(healthy, "echo 'fine';") == "fine"
    reader.feed_eof()
    writer.transport.abort()


async def test_a_reply_larger_than_the_send_buffer_is_read_and_the_socket_stays(
    start: Start,
) -> None:
    gateway = await start(client={"send_buffer": "64KiB"})
    async with gateway.connect() as client:
        for _ in range(3):
            assert len(await ask(client, "echo str_repeat('x', 8e6);")) == 8_000_000
            assert await ask(client, "echo 'fine';") == "fine"


async def test_frames_faster_than_php_wait_and_lose_nothing(start: Start) -> None:
    """The client is not read meanwhile; memory is bounded, order is kept."""
    gateway = await start()
    async with gateway.connect() as client:

        async def send() -> None:
            for number in range(2000):
                await client.send(f"echo {number};")

        sending = asyncio.create_task(send())
        assert [await client.recv() for _ in range(2000)] == [str(n) for n in range(2000)]
        await sending


@pytest.mark.parametrize(
    ("path", "status"), [("/nowhere", 404), ("/ws/more", 404), ("/ws%00", 404), ("/../ws", 404)]
)
async def test_paths_that_lead_nowhere(start: Start, path: str, status: int) -> None:
    gateway = await start()
    with pytest.raises(InvalidStatus) as caught:
        await gateway.connect(path)
    assert caught.value.response.status_code == status
