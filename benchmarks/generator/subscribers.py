"""Subscribers of one channel, and the publisher that feeds it.

Without a WebSocket library, an HTTP client or an event loop: a delivery costs the generator one
`recv` and a comparison. Two thirds of a server's time for a delivery are the kernel's, so a
generator with the layers of an application would be slower than what it measures.
"""

import select
import socket
import time
from typing import Final
from urllib.parse import SplitResult, urlsplit

from benchmarks.generator.statistics import latencies

_SAMPLED: Final = 16  # of so many subscribers one keeps times, or keeping them would be the load
_PATIENCE: Final = 20.0
_MOST: Final = 64 * 1024
_REQUEST: Final = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_TEXT: Final = 0x81
_PING: Final = 0x89
_PONG: Final = b"\x8a\x80\0\0\0\0"


class ProtocolError(Exception):
    """The server sent what it should not."""


class Audience:
    """The subscribers of a channel."""

    def __init__(self) -> None:
        self._subscribers: dict[int, socket.socket] = {}
        self._sampled: set[int] = set()
        self._epoll = select.epoll()
        self._rest: dict[int, bytes] = {}  # of a frame that came in parts

    async def open(self, url: str, count: int) -> dict[str, object]:
        parts = urlsplit(url)
        request = _REQUEST.format(path=parts.path, host=parts.netloc).encode()
        failed = 0
        for _ in range(count):
            connection = _connect(parts)
            try:
                connection.sendall(request)
                head, early = _read_head(connection)
            except OSError:
                head, early = b"", b""
            if not head.startswith(b"HTTP/1.1 101"):
                failed += 1
                connection.close()
                continue
            number = connection.fileno()
            connection.setblocking(False)
            self._subscribers[number] = connection
            if len(self._subscribers) % _SAMPLED == 1:
                self._sampled.add(number)
            if early:
                self._rest[number] = early
            self._epoll.register(number, select.EPOLLIN)
        return {"open": len(self._subscribers), "failed": failed}

    async def publish(self, url: str, count: int, size: int) -> dict[str, object]:
        """Publishes `count` messages, each as soon as all subscribers have the one before."""
        expected = len(self._subscribers)
        delivered = 0
        times: list[float] = []
        filler = "x" * max(0, size - 38)
        publisher = Publisher(url)
        self._epoll.register(publisher.number, select.EPOLLIN)
        started = time.perf_counter()
        for _ in range(count):
            message = f'{{"t":"{time.monotonic_ns():020d}","x":"{filler}"}}'.encode()
            received = self._hand_round(publisher, message, times)
            delivered += received
            if received < expected:
                break
        seconds = time.perf_counter() - started
        self._epoll.unregister(publisher.number)
        publisher.close()
        return {
            "deliveries": delivered,
            "lost": expected * count - delivered,
            "seconds": seconds,
            "rate": delivered / seconds,
            **latencies(times),
        }

    def _hand_round(self, publisher: "Publisher", message: bytes, times: list[float]) -> int:
        """Publish one message; how many had received it when all had, or patience was over."""
        frame = _frame(message)
        subscribers, sampled, rest = self._subscribers, self._sampled, self._rest
        missing = len(subscribers)
        wait, most = self._epoll.poll, missing + 1
        published = time.perf_counter()
        publisher.send(message)
        while missing or publisher.waits:
            ready = wait(_PATIENCE, most)
            if not ready:
                break
            for number, _ in ready:
                subscriber = subscribers.get(number)
                if subscriber is None:
                    publisher.receive()
                    continue
                data = subscriber.recv(_MOST)
                if data != frame or number in rest:
                    data = rest.pop(number, b"") + data
                    arrived = self._look_closer(number, data, frame)
                    if not arrived:
                        continue
                missing -= 1
                if number in sampled:
                    times.append(time.perf_counter() - published)
        return len(subscribers) - missing

    def _look_closer(self, number: int, data: bytes, frame: bytes) -> bool:
        """Whether the frame is among what came; parts of one, and pings, may be as well."""
        arrived = False
        while data:
            if data.startswith(frame):
                arrived, data = True, data[len(frame) :]
            elif data[0] == _PING and len(data) > 1 and data[1] == 0:
                self._subscribers[number].send(_PONG)
                data = data[2:]
            elif len(data) < len(frame) and data[0] in {_TEXT, _PING}:
                self._rest[number] = data
                break
            else:
                raise ProtocolError(f"another frame than what was published: {data[:80]!r}")
        return arrived

    async def close(self) -> dict[str, object]:
        """Resets all of them: closed this way their ports are free at once."""
        subscribers, self._subscribers = self._subscribers, {}
        for subscriber in subscribers.values():
            subscriber.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            subscriber.close()
        self._sampled.clear()
        self._rest.clear()
        return {"closed": len(subscribers)}


class Publisher:
    """A connection that publishes over HTTP, one message after the other."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._head = (
            f"POST {parts.path}{'?' if parts.query else ''}{parts.query} HTTP/1.1\r\n"
            f"Host: {parts.netloc}\r\nContent-Type: application/json\r\nContent-Length: "
        ).encode()
        self._connection = _connect(parts)
        self._answer = b""
        self.number = self._connection.fileno()
        self.waits = False

    def send(self, message: bytes) -> None:
        self.waits = True
        self._connection.sendall(b"%s%d\r\n\r\n%s" % (self._head, len(message), message))

    def receive(self) -> None:
        """Takes what has come of the answer."""
        data = self._connection.recv(_MOST)
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not data or (end and not head.startswith(b"HTTP/1.1 20")):
            raise ProtocolError(f"not published: {self._answer[:200]!r}")
        if end and len(body) >= _length_of(head):
            self._answer = b""
            self.waits = False

    def close(self) -> None:
        self._connection.close()


def _connect(parts: SplitResult) -> socket.socket:
    connection = socket.create_connection((parts.hostname, parts.port or 80), _PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _read_head(connection: socket.socket) -> tuple[bytes, bytes]:
    """The head of an answer, and what came with it."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = connection.recv(_MOST)
        if not data:
            break
        head += data
    first, _, rest = head.partition(b"\r\n\r\n")
    return first, rest


def _length_of(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    raise ProtocolError(f"an answer without a length: {head!r}")


def _frame(message: bytes) -> bytes:
    """A text frame as a server sends it (RFC 6455 section 5.2), for messages below 64 KiB."""
    if len(message) < 126:
        return bytes((_TEXT, len(message))) + message
    return bytes((_TEXT, 126)) + len(message).to_bytes(2, "big") + message
