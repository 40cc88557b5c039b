"""Subscribers of one channel, and the publisher that feeds it."""

import asyncio
import time
from typing import Final, cast

import aiohttp
from picows import WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from benchmarks.generator.statistics import latencies

_SAMPLED: Final = 16  # of so many subscribers one keeps times, or keeping them would be the load
_PATIENCE: Final = 20.0


class Subscriber(WSListener):
    def __init__(self, audience: "Audience", sampled: bool) -> None:
        self._audience = audience
        self._sampled = sampled
        self.transport: WSTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.TEXT:
            if frame.msg_type == WSMsgType.CLOSE:
                transport.disconnect()
            return
        if self._sampled:
            body = frame.get_payload_as_bytes()
            self._audience.times.append((time.monotonic_ns() - int(body[6:26])) / 1e9)
        self._audience.received()


class Audience:
    """The subscribers of a channel."""

    def __init__(self) -> None:
        self._subscribers: list[Subscriber] = []
        self._missing = 0
        self._everywhere = asyncio.Event()
        self.times: list[float] = []

    async def open(self, url: str, count: int, at_once: int = 64) -> dict[str, object]:
        failed = 0
        remaining = iter(range(count))

        async def opener() -> None:
            nonlocal failed
            for number in remaining:
                try:
                    _, subscriber = await ws_connect(
                        lambda: Subscriber(self, number % _SAMPLED == 0),  # noqa: B023  # called at once
                        url,
                        websocket_handshake_timeout=30,
                        read_buffer_init_size=1024,
                    )
                except (WSError, OSError, TimeoutError):
                    failed += 1
                else:
                    self._subscribers.append(cast(Subscriber, subscriber))

        await asyncio.gather(*(opener() for _ in range(min(at_once, count))))
        return {"open": len(self._subscribers), "failed": failed}

    def received(self) -> None:
        self._missing -= 1
        if self._missing == 0:
            self._everywhere.set()

    async def publish(self, url: str, count: int, size: int) -> dict[str, object]:
        """Publishes `count` messages, each as soon as all subscribers have the one before."""
        self.times = []
        expected = len(self._subscribers)
        delivered = 0
        filler = "x" * max(0, size - 38)
        async with aiohttp.ClientSession() as http:
            started = time.perf_counter()
            for _ in range(count):
                self._missing = expected
                self._everywhere.clear()
                body = f'{{"t":"{time.monotonic_ns():020d}","x":"{filler}"}}'
                async with http.post(
                    url, data=body, headers={"Content-Type": "application/json"}
                ) as answer:
                    answer.raise_for_status()
                try:
                    async with asyncio.timeout(_PATIENCE):
                        await self._everywhere.wait()
                except TimeoutError:
                    delivered += expected - self._missing
                    break
                delivered += expected
            seconds = time.perf_counter() - started
        return {
            "deliveries": delivered,
            "lost": expected * count - delivered,
            "seconds": seconds,
            "rate": delivered / seconds,
            **latencies(self.times),
        }

    async def close(self) -> dict[str, object]:
        subscribers, self._subscribers = self._subscribers, []
        for subscriber in subscribers:
            if subscriber.transport is not None:
                subscriber.transport.disconnect()
        await asyncio.sleep(0.2)
        return {"closed": len(subscribers)}
