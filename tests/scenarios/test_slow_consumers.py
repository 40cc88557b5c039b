"""Clients that do not read: each is closed at its limit, and costs nobody else anything."""

import asyncio
import socket

import pytest

from tests.downstream import Gateway, Stream, gateway

SEND_BUFFER = 16 * 1024


def held(served: Gateway) -> int:
    """Bytes that the gateway keeps for clients that do not read."""
    return sum(session.client.buffered() for session in served.worker.services.directory)


@pytest.mark.parametrize("kind", ["sse", "websocket"])
async def test_a_thousand_slow_consumers_stay_within_their_buffers(kind: str) -> None:
    """Each is closed at its limit; one that reads hears everything."""
    count = 1000
    accept = "Accept: text/event-stream\r\n"
    upgrade = (
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    more = accept if kind == "sse" else upgrade
    request = f"GET /kept/a HTTP/1.1\r\nHost: here\r\n{more}\r\n".encode()
    loop = asyncio.get_running_loop()
    async with gateway(send_buffer=f"{SEND_BUFFER}") as served:
        sockets = []
        for _ in range(count):
            made = socket.socket()
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            made.setblocking(False)
            await loop.sock_connect(made, ("127.0.0.1", served.port))
            await loop.sock_sendall(made, request)
            sockets.append(made)
        await served.inside(count)
        for session in served.worker.services.directory:
            session.client._transport.get_extra_info("socket").setsockopt(  # type: ignore[attr-defined]
                socket.SOL_SOCKET, socket.SO_SNDBUF, 4096
            )
        reading = await (await Stream.open(served.port, "/kept/a")).placed()
        await served.inside(count + 1)
        text = "x" * 4096
        slow = served.worker.metrics.slow_consumers_total.labelled()
        most = 0
        for _ in range(500):
            await served.say("kept.a", text)
            most = max(most, held(served))
            assert (await reading.event())["data"] == text
            if slow.value == count:
                break
        assert slow.value == count
        assert 0 < most <= (count + 1) * (SEND_BUFFER + len(text) + 100)
        await served.say("kept.a", "still here")
        assert (await reading.event())["data"] == "still here"
        for made in sockets:
            made.close()
        reading.close()
        await served.inside(0)
