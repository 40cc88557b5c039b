"""WebSocket clients that send frames and check that each answer is their own."""

import asyncio
import json
import time
from collections import Counter, deque
from typing import Final, cast

from picows import WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from benchmarks.generator.statistics import latencies

_STALLED: Final = 20.0  # seconds without any answer after which the rest counts as lost


class Client(WSListener):
    """One socket with at most one frame on its way."""

    def __init__(self, crowd: "Crowd") -> None:
        self.crowd = crowd
        self.transport: WSTransport | None = None
        self.sent = b""
        self.sent_at = 0.0

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            self.crowd.answered(self, frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        del transport
        self.transport = None
        self.crowd.vanished(self)


class Crowd:
    """All sockets of one server, and the load that runs over them."""

    def __init__(self) -> None:
        self._clients: list[Client] = []
        self._ready: deque[Client] = deque()
        self._left = 0  # frames still to be sent
        self._on_way = 0
        self._number = 0
        self._prefix = self._suffix = b""
        self._times: list[float] = []
        self._errors: Counter[str] = Counter()
        self._lost = 0
        self._progress = 0.0
        self._finished = asyncio.Event()

    async def open(self, url: str, count: int, at_once: int = 64) -> dict[str, object]:
        """Opens `count` more sockets; says how many could not be opened, and why.

        `{n}` in the URL is another number for each.
        """
        failed: Counter[str] = Counter()
        remaining = iter(range(count))

        async def opener() -> None:
            for number in remaining:
                try:
                    _, client = await ws_connect(
                        lambda: Client(self),
                        url.replace("{n}", str(number)),
                        websocket_handshake_timeout=30,
                        read_buffer_init_size=1024,
                        max_frame_size=4 * 1024 * 1024,
                    )
                except (WSError, OSError, TimeoutError) as exc:
                    failed[type(exc).__name__] += 1
                else:
                    self._clients.append(cast(Client, client))

        await asyncio.gather(*(opener() for _ in range(min(at_once, count))))
        return {"open": len(self._clients), "failed": dict(failed)}

    async def close(self) -> dict[str, object]:
        clients, self._clients = self._clients, []
        for client in clients:
            if client.transport is not None:
                client.transport.disconnect()
        await asyncio.sleep(0.2)
        return {"closed": len(clients)}

    async def frames(self, count: int, size: int, in_flight: int = 0) -> dict[str, object]:
        """Sends `count` frames of `size` bytes, each socket the next as soon as it has its answer.

        With `in_flight` only so many frames are on their way at a time, and they walk round all
        sockets. Every answer must equal what its socket sent.
        """
        self._begin(count, size)
        started = time.perf_counter()
        for _ in range(min(in_flight or len(self._ready), len(self._ready), count)):
            self._send(self._ready.popleft())
        await self._wait()
        seconds = self._progress - started
        answered = len(self._times)
        return {
            "frames": count,
            "answered": answered,
            "errors": dict(self._errors),
            "lost": count - answered - sum(self._errors.values()),
            "seconds": seconds,
            "rate": answered / seconds if seconds else 0.0,
            **latencies(self._times),
        }

    def answered(self, client: Client, body: bytes) -> None:
        now = time.perf_counter()
        if not client.sent:
            return
        if body == client.sent:
            self._times.append(now - client.sent_at)
        else:
            self._errors[_kind(body)] += 1
        self._progress = now
        client.sent = b""
        self._on_way -= 1
        self._ready.append(client)
        self._next()

    def vanished(self, client: Client) -> None:
        """A socket that goes with a frame on its way has lost that frame."""
        if client in self._ready:
            self._ready.remove(client)
        if client.sent:
            client.sent = b""
            self._progress = time.perf_counter()
            self._on_way -= 1
            self._next()

    def _begin(self, count: int, size: int) -> None:
        self._ready = deque(one for one in self._clients if one.transport is not None)
        self._left = count
        self._on_way = 0
        self._number = 0
        self._times = []
        self._errors = Counter()
        self._progress = time.perf_counter()
        self._finished.clear()
        self._prefix = b'{"n":"'
        self._suffix = b'","text":"' + b"x" * max(0, size - 28) + b'"}'

    def _next(self) -> None:
        if self._left and self._ready:
            self._send(self._ready.popleft())
        elif not self._on_way:
            self._finished.set()

    def _send(self, client: Client) -> None:
        self._left -= 1
        self._on_way += 1
        self._number += 1
        client.sent = b"%b%010d%b" % (self._prefix, self._number, self._suffix)
        client.sent_at = time.perf_counter()
        assert client.transport is not None
        client.transport.send(WSMsgType.TEXT, client.sent)

    async def _wait(self) -> None:
        if not self._on_way:
            return
        while not self._finished.is_set():
            try:
                async with asyncio.timeout(1.0):
                    await self._finished.wait()
            except TimeoutError:
                if time.perf_counter() - self._progress > _STALLED:
                    break
        for client in self._clients:
            client.sent = b""


def _kind(body: bytes) -> str:
    """What sort of wrong answer this is: the type of an error frame, or just another body."""
    try:
        error = json.loads(body)["error"]
        return str(error["type"])
    except (ValueError, KeyError, TypeError):
        return "another body"
