"""The load of `wsgate bench`: who sends when, and what is counted.

With a rate, frames leave by a timetable and a time begins at the timetable's instant: a server
that stalls is not forgiven the frames that could not be sent meanwhile. Without a rate every
connection sends its next frame when the last is answered. Replies come in order on a connection,
so the oldest frame on its way is the one that a reply answers; a frame that comes while none is
on its way was pushed, and is counted as that.
"""

import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from .bench_clients import Headers, Opener, OpenError, Socket
from .histogram import Histogram

_OPENING_AT_ONCE: Final = 64
_TICK: Final = 0.001  # seconds; what is due within one is sent together


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do: `rate` is frames a second over all connections, None for as fast as answered."""

    url: str
    payload: bytes
    connections: int = 1
    rate: float | None = None
    seconds: float = 10.0
    headers: Headers = ()
    patience: float = 10.0  # for answers after the last frame


@dataclass(slots=True)
class Counts:
    """Everything that happened so far."""

    clock: Callable[[], float] = time.perf_counter
    times: Histogram = field(default_factory=Histogram)
    late: Histogram = field(default_factory=Histogram)
    errors: Counter[str] = field(default_factory=Counter)
    opened: int = 0
    sent: int = 0
    answered: int = 0
    pushed: int = 0
    seconds: float = 0.0
    timeline: list[tuple[float, float, float, float]] = field(default_factory=list)
    _window: Histogram = field(default_factory=Histogram)

    def answer(self, seconds: float, body: bytes) -> None:
        """A frame was answered after so long; an error frame is an error, with its time."""
        self.answered += 1
        self.times.record(seconds)
        self._window.record(seconds)
        kind = error_type(body)
        if kind is not None:
            self.errors[f"error frame: {kind}"] += 1

    def mark(self, at: float, width: float) -> None:
        """Ends a stretch of the timeline: second, answers a second, p50, p99."""
        window, self._window = self._window, Histogram()
        rate = window.count / width if width > 0 else 0.0
        self.timeline.append((at, rate, window.percentile(0.5), window.percentile(0.99)))

    def summary(self) -> dict[str, Any]:
        """The numbers, in the units that people read."""
        return {
            "connections": self.opened,
            "seconds": round(self.seconds, 3),
            "sent": self.sent,
            "answered": self.answered,
            "pushed": self.pushed,
            "rate": round(self.answered / self.seconds, 1) if self.seconds else 0.0,
            "latency_ms": {
                "p50": _ms(self.times.percentile(0.5)),
                "p90": _ms(self.times.percentile(0.9)),
                "p99": _ms(self.times.percentile(0.99)),
                "max": _ms(self.times.greatest),
            },
            "sent_late_ms": {"p99": _ms(self.late.percentile(0.99))},
            "errors": dict(self.errors.most_common()),
        }


class _Lane:
    """One connection, and its frames on their way."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._pending: deque[float] = deque()
        self._news = asyncio.Event()
        self.socket: Socket | None = None

    def on_frame(self, body: bytes) -> None:
        """A reply to the oldest frame on its way, or a push."""
        if self._pending:
            self._load.counts.answer(self._load.counts.clock() - self._pending.popleft(), body)
            self._news.set()
        else:
            self._load.counts.pushed += 1

    def on_close(self, code: int) -> None:
        """The server has closed; what was on its way will not be answered."""
        self._load.counts.errors[f"close: {code}"] += 1
        self.socket = None
        self._news.set()

    @property
    def waiting(self) -> int:
        """Frames without an answer."""
        return len(self._pending)

    def drop(self) -> None:
        """Give up what is on its way; its connection has lost count and is not used again."""
        self._pending.clear()
        self.socket = None

    async def send(self, payload: bytes, due: float) -> None:
        """Send a frame whose time began at `due`."""
        if self.socket is not None:
            self._pending.append(due)
            self._load.counts.sent += 1
            await self.socket.send(payload)

    async def exchange(self, payload: bytes) -> None:
        """Send a frame and wait for its answer, or for the end of the connection."""
        self._news.clear()
        await self.send(payload, self._load.counts.clock())
        while self._pending and self.socket is not None:
            await self._news.wait()
            self._news.clear()


class Load:
    """One run. `counts` may be read while it goes on."""

    def __init__(self, plan: Plan, clients: Opener, counts: Counts | None = None) -> None:
        self._plan = plan
        self._clients = clients
        self.counts = counts or Counts()
        self._lanes: list[_Lane] = []
        self._sockets: list[Socket] = []

    async def run(self) -> Counts:
        """Opens the connections, sends, waits for the last answers, closes."""
        try:
            await self.open()
            await self.send(self._plan.rate, self._plan.seconds)
        finally:
            await self.close()
        return self.counts

    @property
    def complete(self) -> bool:
        """Whether every connection of the plan is open."""
        usable = sum(lane.socket is not None for lane in self._lanes)
        return usable == self._plan.connections

    async def open(self) -> None:
        """Opens the connections; what does not open is counted by kind."""
        waiting = iter(range(self._plan.connections))

        async def one_after_the_other() -> None:
            for _ in waiting:
                lane = _Lane(self)
                try:
                    socket = await self._clients.open(self._plan.url, self._plan.headers, lane)
                except OpenError as exc:
                    self.counts.errors[exc.kind] += 1
                else:
                    lane.socket = socket
                    self._lanes.append(lane)
                    self._sockets.append(socket)
                    self.counts.opened += 1

        at_once = min(_OPENING_AT_ONCE, self._plan.connections)
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(one_after_the_other())

    async def send(self, rate: float | None, seconds: float) -> None:
        """Sends for so long, then waits for answers; may be called again with another rate."""
        counts = self.counts
        started = counts.clock()
        marking = asyncio.create_task(self._mark(started), name="bench timeline")
        try:
            if rate is None:
                await self._as_answered(started + seconds)
            else:
                await self._by_timetable(rate, started, seconds)
            await self._last_answers()
        finally:
            counts.seconds += counts.clock() - started
            marking.cancel()
            await asyncio.gather(marking, return_exceptions=True)
            if not counts.timeline:
                counts.mark(counts.seconds, counts.seconds)

    async def close(self) -> None:
        """Closes all connections."""
        sockets, self._sockets = self._sockets, []
        self._lanes = []
        await asyncio.gather(*(socket.close() for socket in sockets))

    async def _as_answered(self, end: float) -> None:
        clock, payload = self.counts.clock, self._plan.payload

        async def talk(lane: _Lane) -> None:
            while lane.socket is not None and clock() < end:
                await lane.exchange(payload)

        talking = [asyncio.create_task(talk(lane), name="bench lane") for lane in self._lanes]
        if not talking:
            return
        try:
            await asyncio.wait(talking, timeout=max(0.0, end - clock()))
        finally:
            for task in talking:
                task.cancel()
            await asyncio.gather(*talking, return_exceptions=True)

    async def _by_timetable(self, rate: float, started: float, seconds: float) -> None:
        clock = self.counts.clock
        total = max(1, round(rate * seconds))
        number = 0
        while number < total:
            open_lanes = [lane for lane in self._lanes if lane.socket is not None]
            if not open_lanes:
                return
            now = clock()
            due = started + number / rate
            if due > now:
                await asyncio.sleep(max(_TICK, due - now))
                continue
            for lane in open_lanes:
                if number == total or due > now:
                    break
                self.counts.late.record(clock() - due)
                await lane.send(self._plan.payload, due)
                number += 1
                due = started + number / rate
            # Everything due may be out while answers wait to be read.
            await asyncio.sleep(0)

    async def _last_answers(self) -> None:
        end = self.counts.clock() + self._plan.patience
        while self.counts.clock() < end:
            if not any(lane.waiting and lane.socket is not None for lane in self._lanes):
                break
            await asyncio.sleep(_TICK)
        for lane in self._lanes:
            if lane.waiting:
                self.counts.errors["not answered"] += lane.waiting
                lane.drop()

    async def _mark(self, started: float) -> None:
        before = started
        while True:
            await asyncio.sleep(1.0)
            now = self.counts.clock()
            self.counts.mark(now - started, now - before)
            before = now


def error_type(body: bytes) -> str | None:
    """The type of an error frame; None for any other frame."""
    if not body.startswith(b'{"error"') or len(body) > 4096:  # noqa: PLR2004 - ours are short
        return None
    try:
        kind = json.loads(body)["error"]["type"]
    except (ValueError, KeyError, TypeError):
        return None
    return kind if isinstance(kind, str) and kind.isprintable() else None


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
