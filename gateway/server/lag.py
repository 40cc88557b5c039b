"""Notices that the event loop stood still: something in it took too long.

A timer that ticks often is late by as much as a callback took. The longest of a second is written,
with the processor time of the loop's thread: much of it points at our own code, little of it at a
machine that had no time for us.
"""

import asyncio
import time
from typing import Final

import structlog

log = structlog.get_logger()

PERIOD: Final = 0.1
LIMIT: Final = 0.1
"""Seconds; a callback that takes longer is told of."""


class Lag:
    """Made inside the event loop; ticks until it is stopped."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._longest = 0.0
        self._processor = 0.0
        self._tick()

    def _tick(self) -> None:
        self._due = time.monotonic() + PERIOD
        self._used = time.thread_time()
        self._timer = self._loop.call_later(PERIOD, self._on_time)

    def _on_time(self) -> None:
        late = time.monotonic() - self._due
        if late > self._longest:
            self._longest = late
            self._processor = time.thread_time() - self._used
        self._tick()

    def tell(self) -> None:
        """Write the longest standstill since the last call, if it was too long."""
        longest, self._longest = self._longest, 0.0
        if longest > LIMIT:
            log.warning(
                "event loop blocked",
                milliseconds=round(longest * 1000),
                processor_milliseconds=round(self._processor * 1000),
            )

    def stop(self) -> None:
        """Tick no more."""
        self._timer.cancel()
