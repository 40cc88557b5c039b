"""One ticking timer for many deadlines.

Thousands of connections wait for the same few things (a head, a close frame, the end of a
message). A timer for each would cost more than the waiting; here a deadline is one entry of a
dict, looked at twice a second, and the timer rests while nobody waits.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from gateway.clock import Clock

PERIOD: Final = 0.5


class Waiting:
    """Those who wait for the same thing equally long, the longest waiting first.

    An entry is the callback to be called when time is up; adding it again starts it anew.
    """

    __slots__ = ("_entries", "_sweep", "seconds")

    def __init__(self, sweep: "Sweep", seconds: float) -> None:
        self._sweep = sweep
        self.seconds = seconds
        self._entries: dict[Callable[[], None], float] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, on_deadline: Callable[[], None]) -> bool:
        return on_deadline in self._entries

    def add(self, on_deadline: Callable[[], None]) -> None:
        """Wait from now on."""
        self._entries.pop(on_deadline, None)
        self._entries[on_deadline] = self._sweep.clock.monotonic() + self.seconds
        self._sweep.wake()

    def discard(self, on_deadline: Callable[[], None]) -> None:
        """What was waited for has come, or nobody waited."""
        self._entries.pop(on_deadline, None)

    def expire(self, now: float) -> None:
        """Call those whose time is up, and forget them."""
        while self._entries:
            on_deadline, deadline = next(iter(self._entries.items()))
            if deadline > now:
                return
            del self._entries[on_deadline]
            on_deadline()


class Sweep:
    """The timer, and every `Waiting` it serves."""

    __slots__ = ("_timer", "_waiting", "clock", "period")

    def __init__(self, clock: Clock, period: float = PERIOD) -> None:
        self.clock = clock
        self.period = period
        self._waiting: list[Waiting] = []
        self._timer: asyncio.TimerHandle | None = None

    def waiting(self, seconds: float) -> Waiting:
        """A new kind of wait."""
        kind = Waiting(self, seconds)
        self._waiting.append(kind)
        return kind

    def wake(self) -> None:
        """Somebody waits: let the timer run."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.period, self._tick)

    def _tick(self) -> None:
        self._timer = None
        try:
            self.expire()
        finally:
            if any(self._waiting):
                self.wake()

    def expire(self) -> None:
        """Call everyone whose time is up now."""
        now = self.clock.monotonic()
        for kind in self._waiting:
            kind.expire(now)

    def stop(self) -> None:
        """Let go of the timer; deadlines are no longer kept until somebody waits again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
