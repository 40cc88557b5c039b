"""The least FastCGI client that works: kept connections, a queue, nothing else.

It is the yardstick for wsgate's own client and the load for "php-fpm without a gateway".
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, cast

BEGIN_KEEP: Final = bytes([1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0])
EMPTY_PARAMS: Final = bytes([1, 4, 0, 1, 0, 0, 0, 0])
EMPTY_STDIN: Final = bytes([1, 5, 0, 1, 0, 0, 0, 0])
LARGEST: Final = 65528

STDOUT: Final = 6
END_REQUEST: Final = 3


def encode(values: Mapping[str, str]) -> bytes:
    """Name-value pairs."""
    return b"".join(_pair(name.encode(), value.encode()) for name, value in values.items())


def environment(root: str, script: str) -> bytes:
    """The static FastCGI params of one connection, encoded."""
    return encode(
        {
            "SCRIPT_FILENAME": root + script,
            "SCRIPT_NAME": script,
            "DOCUMENT_ROOT": root,
            "REQUEST_METHOD": "POST",
            "REQUEST_URI": script,
            "QUERY_STRING": "",
            "CONTENT_TYPE": "application/json",
            "GATEWAY_INTERFACE": "CGI/1.1",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SERVER_SOFTWARE": "bare",
            "SERVER_NAME": "localhost",
            "SERVER_ADDR": "127.0.0.1",
            "SERVER_PORT": "80",
            "REMOTE_ADDR": "127.0.0.1",
            "REMOTE_PORT": "40000",
            "REDIRECT_STATUS": "200",
        }
    )


class Connection(asyncio.Protocol):
    """One kept connection with at most one request on it."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._left = b""
        self._stdout: list[bytes] = []
        self._done: Callable[[bytes | None], None] | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def send(self, params: bytes, body: bytes, done: Callable[[bytes | None], None]) -> None:
        self._done = done
        all_params = params + _pair(b"CONTENT_LENGTH", b"%d" % len(body))
        if len(body) <= LARGEST:
            stdin = _header(5, len(body)) + body if body else b""
        else:
            pieces = [body[at : at + LARGEST] for at in range(0, len(body), LARGEST)]
            stdin = b"".join(_header(5, len(piece)) + piece for piece in pieces)
        self._transport.write(
            BEGIN_KEEP
            + _header(4, len(all_params))
            + all_params
            + EMPTY_PARAMS
            + stdin
            + EMPTY_STDIN
        )

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        if self._left:
            data = self._left + data
        at = 0
        while len(data) - at >= 8:
            size = data[at + 4] << 8 | data[at + 5]
            end = at + 8 + size + data[at + 6]
            if end > len(data):
                break
            if data[at + 1] == STDOUT:
                self._stdout.append(data[at + 8 : at + 8 + size])
            elif data[at + 1] == END_REQUEST:
                self._ended()
            at = end
        self._left = data[at:]

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._pool.lost(self)
        if self._done is not None:
            self._done(None)

    def _ended(self) -> None:
        head, blank, body = b"".join(self._stdout).partition(b"\r\n\r\n")
        del head
        self._stdout.clear()
        done, self._done = self._done, None
        self._pool.free(self)
        if done is not None:
            done(body if blank else None)


class Pool:
    """At most `size` kept connections; what finds none free waits, first in, first out."""

    def __init__(self, path: str, size: int) -> None:
        self._path = path
        self._size = size
        self._open = 0
        self._idle: list[Connection] = []
        self._waiting: deque[tuple[bytes, bytes, Callable[[bytes | None], None]]] = deque()
        self._opening: set[asyncio.Task[None]] = set()

    def request(self, params: bytes, body: bytes, done: Callable[[bytes | None], None]) -> None:
        """`done` gets the body, or None when there will be none."""
        if self._idle:
            self._idle.pop().send(params, body, done)
            return
        self._waiting.append((params, body, done))
        if self._open < self._size:
            self._open += 1
            task = asyncio.get_running_loop().create_task(self._connect())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    def free(self, connection: Connection) -> None:
        if self._waiting:
            connection.send(*self._waiting.popleft())
        else:
            self._idle.append(connection)

    def lost(self, connection: Connection) -> None:
        self._open -= 1
        if connection in self._idle:
            self._idle.remove(connection)
        if self._waiting:
            self.request(*self._waiting.popleft())

    def close(self) -> None:
        for connection in self._idle:
            connection.close()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_unix_connection(lambda: Connection(self), self._path)
        self.free(connection)


def _header(kind: int, size: int) -> bytes:
    return bytes([1, kind, 0, 1, size >> 8, size & 255, 0, 0])


def _pair(name: bytes, value: bytes) -> bytes:
    return _length(len(name)) + _length(len(value)) + name + value


def _length(n: int) -> bytes:
    return bytes([n]) if n < 128 else (n | 0x80000000).to_bytes(4, "big")
