"""The `disconnect` events: a queue of their own, slower than the messages.

When thousands of clients leave at once, PHP must go on answering those who stayed. So these
events wait here, leave at a bounded rate and only a few at a time; past the limit they are
dropped, which is logged.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

import structlog

from fastcgi import FastCGIError, Response
from gateway.backend.invocation import Invocation
from gateway.logs import Throttle

if TYPE_CHECKING:
    from .session import Session

log: Final = structlog.get_logger()

LIMIT: Final = 100_000
_IN_FLIGHT: Final = 2
_TICK: Final = 0.05


class Farewell:
    """Sends `disconnect` for sessions that have ended, in the order of their ends.

    Fulfils `backend.invocation.Asker`. `run` is the one task; it lives as long as the worker.
    """

    id: Final = "disconnect"

    def __init__(self, rate: float | None) -> None:
        self.rate = rate
        self._waiting: deque[Session] = deque()
        self._running = 0
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._dropped = Throttle()

    def __len__(self) -> int:
        return len(self._waiting) + self._running

    def add(self, session: "Session") -> None:
        """PHP shall hear that the session has ended, if its route wants that."""
        if session.route.hooks.disconnect is None:
            return
        if len(self._waiting) >= LIMIT:
            if self._dropped.allows():
                log.error("disconnect event dropped", waiting=LIMIT, **self._dropped.taken())
            return
        self._waiting.append(session)
        self._empty.clear()
        self._wake.set()

    async def run(self) -> None:
        """Send what waits at the given rate, until cancelled."""
        loop = asyncio.get_running_loop()
        credit, before = 1.0, loop.time()
        while True:
            await self._wake.wait()
            now = loop.time()
            if self.rate is None:
                credit = 1.0 * len(self._waiting)
            else:
                credit = min(credit + (now - before) * self.rate, max(self.rate * _TICK, 1.0))
            before = now
            while credit >= 1.0 and self._waiting and self._running < _IN_FLIGHT:
                self._send(self._waiting.popleft())
                credit -= 1.0
            if self._waiting:
                await asyncio.sleep(_TICK if self.rate is None else min(_TICK, 1 / self.rate))
            else:
                self._wake.clear()
                self._check_empty()

    async def drained(self, within: float) -> int:
        """Wait until all have been sent, at most `within` seconds; how many are left."""
        try:
            async with asyncio.timeout(within):
                await self._empty.wait()
        except TimeoutError:
            pass
        return len(self)

    def _send(self, session: "Session") -> None:
        invocation = session.farewell()
        if invocation is not None:
            self._running += 1
            invocation.target.submit(invocation, session.identity.serial_key)

    def on_answer(self, _invocation: Invocation, _response: Response) -> None:
        """Whatever PHP says of it, there is nobody left to hear it."""
        self._ended()

    def on_no_answer(self, _invocation: Invocation, _error: FastCGIError) -> None:
        """The failure has been logged where it was found."""
        self._ended()

    def _ended(self) -> None:
        self._running -= 1
        self._wake.set()
        self._check_empty()

    def _check_empty(self) -> None:
        if not self._waiting and not self._running:
            self._empty.set()
