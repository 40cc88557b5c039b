"""The clocks the gateway reads, so that tests can move them.

Waiting is measured by the monotonic clock; what leaves the machine (tokens, timestamps, cookies)
by the wall clock. A step of the wall clock must not make connections time out.
"""

import time
from dataclasses import dataclass, field
from typing import Protocol


class Clock(Protocol):
    """Two readings, both in seconds."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; never goes back."""

    def wall(self) -> float:
        """Unix time."""


class SystemClock:
    """The machine's own clocks."""

    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)


@dataclass(slots=True)
class ManualClock:
    """A clock that stands until it is moved."""

    now: float = 1000.0
    unix: float = field(default=1_700_000_000.0)

    def monotonic(self) -> float:
        """Where the clock was moved to."""
        return self.now

    def wall(self) -> float:
        """Where the wall clock was moved to."""
        return self.unix

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.now += seconds
        self.unix += seconds
