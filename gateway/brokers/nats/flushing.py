"""Knowing that the server has what was written, one round trip for all who ask meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.errors import BrokerUnavailableError


class Flusher:
    """`flush` is one round trip; BrokerUnavailableError goes to all who wait for it."""

    def __init__(self, flush: Callable[[], Awaitable[None]]) -> None:
        self._flush = flush
        self._waiting: list[asyncio.Future[None]] = []
        self._wake = asyncio.Event()

    def flushed(self) -> asyncio.Future[None]:
        """Done when the server has everything that was written before."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._wake.set()
        return future

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            waiting, self._waiting = self._waiting, []
            error: BrokerUnavailableError | None = None
            try:
                await self._flush()
            except BrokerUnavailableError as exc:
                error = exc
            for future in waiting:
                if future.done():
                    continue
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)
                    # Who gave up waiting does not fetch the error.
                    future.exception()
