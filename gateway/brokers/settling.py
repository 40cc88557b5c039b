"""Bringing a broker and its server together again, whenever something was lost."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from gateway.errors import BrokerUnavailableError
from gateway.remote.backoff import Backoff

log: Final = structlog.get_logger()


class Settling:
    """Calls `settle` after every `disturb`, which says whether it is done.

    Where it raises BrokerUnavailableError it is called again after a pause; where it is not done,
    only after the next `disturb`.
    """

    __slots__ = ("_disturbed", "_lost", "_settle", "settled")

    def __init__(self, settle: Callable[[], Awaitable[bool]]) -> None:
        self._settle = settle
        self._disturbed = asyncio.Event()
        self._lost = False
        self.settled = False

    def lose(self) -> None:
        """The server is lost; `disturb` when it is back."""
        self._lost = True
        self.settled = False

    def disturb(self) -> None:
        """Look again; what was settled counts as such meanwhile."""
        self._disturbed.set()

    async def run(self) -> None:
        """Go on until cancelled."""
        backoff = Backoff(0.05, 1.0)
        while True:
            await self._disturbed.wait()
            self._disturbed.clear()
            self._lost = False
            try:
                done = await self._settle()
            except BrokerUnavailableError as exc:
                log.debug("could not be restored", reason=str(exc))
                await asyncio.sleep(backoff.pause())
                self.disturb()
            else:
                backoff.reset()
                self.settled = done and not self._lost
