"""Deadlines for a peer that do not blame it for our own delay."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

_LATE: Final = 0.1


@asynccontextmanager
async def patience(seconds: float) -> AsyncIterator[None]:
    """Raise TimeoutError when the body takes longer than `seconds`.

    If this process itself stood still when the time was over (a busy machine, a stopped
    process), the answer may be waiting unread: then the body is given half the time again.
    """
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def look_again_at(due: float) -> None:
        nonlocal timer
        timer = loop.call_at(due, decide, due)

    def decide(due: float) -> None:
        now = loop.time()
        if now - due > _LATE:
            look_again_at(now + seconds / 2)
        else:
            scope.reschedule(now)

    async with asyncio.timeout(None) as scope:
        look_again_at(loop.time() + seconds)
        try:
            yield
        finally:
            timer.cancel()
