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
    """Connects, asks and reads the head of the answer; the connection stays open."""

    def __init__(self, request: bytes, done: "asyncio.Future[bool]") -> None:
        self._request = request
        self._done = done
        self.transport: asyncio.Transport
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self._done.done():
            self._answer += data
            if b"\r\n\r\n" in self._answer:
                self._done.set_result(self._answer.startswith(b"HTTP/1.1 101"))

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self._done.done():
            self._done.set_result(False)


class Visitors:
    """Sockets that were opened and say nothing."""

    def __init__(self) -> None:
        self._open: list[_Handshake] = []

    async def handshakes(self, url: str, count: int, at_once: int = 32) -> dict[str, object]:
        """Opens `count` sockets, `at_once` at a time; they stay, so that no closing is counted."""
        loop = asyncio.get_running_loop()
        parts = urlsplit(url)
        request = _REQUEST.format(path=parts.path, host=parts.netloc).encode()
        times: list[float] = []
        failed = 0
        remaining = iter(range(count))

        async def visit() -> None:
            nonlocal failed
            for _ in remaining:
                done = loop.create_future()
                started = time.perf_counter()
                _, visitor = await loop.create_connection(
                    lambda: _Handshake(request, done),  # noqa: B023  # called at once
                    parts.hostname or "127.0.0.1",
                    parts.port or 80,
                )
                self._open.append(visitor)
                if await done:
                    times.append(time.perf_counter() - started)
                else:
                    failed += 1

        started = time.perf_counter()
        await asyncio.gather(*(visit() for _ in range(min(at_once, count))))
        seconds = time.perf_counter() - started
        rate = len(times) / seconds
        return {"failed": failed, "seconds": seconds, "rate": rate, **latencies(times)}

    async def close(self) -> dict[str, object]:
        """Resets all of them: closed this way their ports are free at once."""
        visitors, self._open = self._open, []
        for visitor in visitors:
            visitor.transport.abort()
        await asyncio.sleep(0.2)
        return {"closed": len(visitors)}
