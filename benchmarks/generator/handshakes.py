"""Handshakes and nothing else: a client without a WebSocket library, so that it is no limit."""

import asyncio
import time
from typing import cast
from urllib.parse import urlsplit

from benchmarks.generator.statistics import latencies

_REQUEST = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class _Handshake(asyncio.Protocol):
    """Connects, asks, reads the head of the answer, and resets the connection."""

    def __init__(self, request: bytes, done: "asyncio.Future[bool]") -> None:
        self._request = request
        self._done = done
        self._transport: asyncio.Transport
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if b"\r\n\r\n" in self._answer and not self._done.done():
            self._done.set_result(self._answer.startswith(b"HTTP/1.1 101"))
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self._done.done():
            self._done.set_result(False)


async def handshakes(url: str, count: int, at_once: int = 32) -> dict[str, object]:
    """Opens and drops `count` sockets, `at_once` at a time."""
    loop = asyncio.get_running_loop()
    parts = urlsplit(url)
    request = _REQUEST.format(path=parts.path, host=parts.netloc).encode()
    times: list[float] = []
    failed = 0
    remaining = iter(range(count))

    async def client() -> None:
        nonlocal failed
        for _ in remaining:
            done = loop.create_future()
            started = time.perf_counter()
            await loop.create_connection(
                lambda: _Handshake(request, done),  # noqa: B023  # called at once
                parts.hostname or "127.0.0.1",
                parts.port or 80,
            )
            if await done:
                times.append(time.perf_counter() - started)
            else:
                failed += 1

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(min(at_once, count))))
    seconds = time.perf_counter() - started
    return {"failed": failed, "seconds": seconds, "rate": len(times) / seconds, **latencies(times)}
