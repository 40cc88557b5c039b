"""The `disconnect` events: a queue of their own, slower than the messages.

When thousands of clients leave at once, PHP must go on answering those who stayed. So these
events wait here, leave at a bounded rate and only a few at a time; past the limit they are
dropped, which is logged.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from fastcgi import FastCGIError, Response
from gateway.backend.invocation import Invocation
from gateway.logs import Throttle

from .bequest import Departed, Wills

if TYPE_CHECKING:
    from .session import Session

log: Final = structlog.get_logger()

LIMIT: Final = 100_000
_IN_FLIGHT: Final = 2
_TICK: Final = 0.05


class _Goodbye:
    """One `disconnect` with PHP. Fulfils `backend.invocation.Asker`; nobody hears the answer."""

    __slots__ = ("_on_end", "id")

    def __init__(self, connection_id: str, on_end: Callable[[str], None]) -> None:
        self.id = connection_id
        self._on_end = on_end

    def on_answer(self, _invocation: Invocation, _response: Response) -> None:
        """Whatever PHP says of it, there is nobody left to hear it."""
        self._on_end(self.id)

    def on_no_answer(self, _invocation: Invocation, _error: FastCGIError) -> None:
        """The failure has been logged where it was found."""
        self._on_end(self.id)


class Farewell:
    """Sends `disconnect` for sessions that have ended, in the order of their ends.

    `run` is the one task; it lives as long as the worker. A `rate` of None sets no bound.
    `wills` keeps, outside of this process, what is to be sent if it dies.
    """

    def __init__(self, rate: float | None, wills: Wills | None = None) -> None:
        self.rate = rate
        self.wills = wills
        self._waiting: deque[Departed] = deque()
        self._running = 0
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._dropped = Throttle()

    def __len__(self) -> int:
        return len(self._waiting) + self._running

    @property
    def waiting(self) -> tuple[Departed, ...]:
        """Whose events have not been sent yet."""
        return tuple(self._waiting)

    def promise(self, session: "Session") -> None:
        """PHP shall hear of the session's end even if this process does not live to see it."""
        wills = self.wills
        if wills is None or not session.wire.lasting or session.route.hooks.disconnect is None:
            return
        session.identity.on_change = partial(wills.keep, session)
        wills.keep(session)

    def add(self, session: Departed) -> None:
        """PHP shall hear that the session has ended, if its route wants that."""
        if session.route.hooks.disconnect is None:
            self._revoke(session.id)
            return
        if len(self._waiting) >= LIMIT:
            if self._dropped.allows():
                log.error("disconnect event dropped", waiting=LIMIT, **self._dropped.taken())
            self._revoke(session.id)
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
            self._wake.clear()
            now = loop.time()
            if self.rate is None:
                credit = float(_IN_FLIGHT)
            else:
                credit = min(credit + (now - before) * self.rate, max(self.rate * _TICK, 1.0))
            before = now
            while credit >= 1.0 and self._waiting and self._running < _IN_FLIGHT:
                self._send(self._waiting.popleft())
                credit -= 1.0
            self._check_empty()
            if self._waiting and self._running < _IN_FLIGHT:
                # Only the rate is in the way; else the end of one that is with PHP wakes us.
                await asyncio.sleep(0 if self.rate is None else min(_TICK, 1 / self.rate))
                self._wake.set()

    async def drained(self, within: float) -> int:
        """Wait until all have been sent, at most `within` seconds; how many are left."""
        try:
            async with asyncio.timeout(within):
                await self._empty.wait()
        except TimeoutError:
            pass
        return len(self)

    def asker(self, connection_id: str) -> _Goodbye:
        """Who hears the answer to the event of that connection."""
        return _Goodbye(connection_id, self._ended)

    def _send(self, session: Departed) -> None:
        try:
            invocation = session.farewell()
            if invocation is None:
                self._revoke(session.id)
                return
            invocation.target.submit(invocation, session.serial_key)
            self._running += 1
        except Exception:
            # The others' events must still be sent.
            log.exception("disconnect event failed", connection=session.id)

    def _ended(self, connection_id: str) -> None:
        self._running -= 1
        self._revoke(connection_id)
        self._wake.set()
        self._check_empty()

    def _revoke(self, connection_id: str) -> None:
        if self.wills is not None:
            self.wills.revoke(connection_id)

    def _check_empty(self) -> None:
        if not self._waiting and not self._running:
            self._empty.set()
