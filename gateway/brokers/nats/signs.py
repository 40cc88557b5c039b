"""Whether NATS answers, and what the log says of it: once that it is away, once that it is back."""

import asyncio
import contextlib
from typing import Final

import structlog

log: Final = structlog.get_logger()


class Signs:
    """Of one server. A call without an answer makes it silent until it has given a sign of life."""

    def __init__(self, interval: float) -> None:
        self.interval = interval
        """Seconds between two questions, and for how long each is waited for."""
        self.silent = False
        self._doubt = asyncio.Event()
        self._told = False

    def doubt(self) -> None:
        """A call had no answer: calls fail without waiting, and it is asked at once."""
        self.silent = True
        self.look()

    def look(self) -> None:
        """Something may have changed: do not wait for the interval to end."""
        self._doubt.set()

    async def until_due(self) -> None:
        """Return when it is time to ask for a sign of life."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.interval):
                await self._doubt.wait()
        self._doubt.clear()

    def away(self, event: str, **fields: object) -> None:
        """It is away, however that has shown itself first."""
        if not self._told:
            self._told = True
            log.warning(event, **fields)

    def back(self) -> None:
        """It answers."""
        self.silent = False
        if self._told:
            self._told = False
            log.info("NATS is heard again")
