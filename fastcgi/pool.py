"""The connections to one application, and everybody who waits for one.

The path of a request is synchronous: `submit` takes an idle connection and sends, the socket's
event feeds the reader, the exchange gets its answer, the connection goes to whoever waits first
(`dispatch`). One ticking timer keeps all deadlines, and only while there is something to keep.

Metrics need no hooks: an exchange carries when it was queued and sent, `statistics` has the rest.
"""

import asyncio
from typing import Final

from .awaited import AwaitedExchange
from .connection import Connection
from .dispatch import OPEN, Dispatch, Phase
from .errors import (
    Executed,
    PoolClosedError,
    QueueFullError,
    QueueTimeoutError,
)
from .exchange import Exchange
from .limits import PoolStatistics
from .response import Response
from .slot import State

_TICK: Final = 0.05


class Pool(Dispatch):
    """All connections to the addresses of one application; belongs to one event loop.

    `on_address` hears when an address stops being reachable (with the error) and when it is
    reachable again (None); it must neither raise nor call the pool.
    """

    def submit(self, exchange: Exchange) -> None:
        """Send now or join the queue; one callback of `exchange` comes later, never from here.

        Raises QueueFullError or PoolClosedError, and then no callback comes.
        """
        if self._phase is not OPEN:
            self._errors[PoolClosedError.__name__] += 1
            raise PoolClosedError
        now = exchange.queued_at = self._clock()
        slots = self._slots
        if not slots.waiting and (connection := slots.take(now)) is not None:
            self._serve(connection, exchange, now)
        else:
            try:
                slots.enqueue(exchange)
            except QueueFullError:
                self._errors[QueueFullError.__name__] += 1
                raise
            if self.on_queued is not None:
                self.on_queued()
        # With every connection busy there is nothing to find.
        if slots.waiting and (slots.opened < slots.limit or slots.settling):
            self._pump(now)
        if self._ticker is None:
            self._ticker = self._loop.call_later(_TICK, self._tick)

    def cancel(self, exchange: Exchange) -> bool:
        """Nobody wants the answer any more; True if it was in time, and no callback will come.

        One that waits leaves the queue unexecuted. One that was sent is executed to its end, and
        its connection counts until then.
        """
        found = self._slots.withdraw(exchange)
        if not found:
            for connection in self._connections:
                if connection.exchange is exchange:
                    self._abandon(connection, self._clock())
                    found = True
                    break
        self._look_whether_empty()
        return found

    async def request(
        self,
        params: tuple[bytes, ...],
        body: bytes,
        *,
        timeout: float,  # noqa: ASYNC109 - it counts from the sending, after the queue
        script: str,
        idempotent: bool = False,
    ) -> Response:
        """One request by awaiting; raises what `submit` and `on_failure` say.

        Cancelling has the meaning of `cancel`.
        """
        exchange = AwaitedExchange(
            params,
            body,
            timeout=timeout,
            script=script,
            idempotent=idempotent,
            future=self._loop.create_future(),
        )
        self.submit(exchange)
        try:
            return await exchange.future
        finally:
            if exchange.future.cancelled():
                self.cancel(exchange)

    def set_limit(self, limit: int) -> None:
        """Allow so many connections from now on; idle ones beyond it close, busy ones finish."""
        self._slots.limit = limit
        now = self._clock()
        for connection in self._slots.surplus(now):
            self._close(connection, now)
        self._pump(now)

    async def drain(self, timeout: float) -> bool:  # noqa: ASYNC109 - running out is an answer
        """Take no more, let everybody who is here be answered, then close.

        False if that took longer than `timeout` and `close` had to fail the rest.
        """
        if self._phase is Phase.OPEN:
            self._phase = Phase.DRAINING
        self._look_whether_empty()
        try:
            async with asyncio.timeout(timeout):
                await self._emptied.wait()
        except TimeoutError:
            return False
        finally:
            await self.close()
        return True

    async def close(self) -> None:
        """End everything now: who waits or is being answered fails with PoolClosedError."""
        self._phase = Phase.CLOSED
        now = self._clock()
        while self._slots.waiting:
            self._fail(self._slots.waiting.popitem(last=False)[0], PoolClosedError())
        for connection in list(self._connections):
            exchange, connection.exchange = connection.exchange, None
            self._close(connection, now)
            if exchange is not None:
                error = PoolClosedError()
                error.executed = Executed.MAYBE
                self._fail(exchange, error)
        for timer in (self._ticker, self._settler):
            if timer is not None:
                timer.cancel()
        await self._opener.close()
        self._emptied.set()
        # The callbacks of those who failed were only scheduled.
        await asyncio.sleep(0)

    def statistics(self) -> PoolStatistics:
        """How it stands, and what was counted since the start."""
        slots = self._slots
        counts = slots.counts
        return PoolStatistics(
            limit=slots.limit,
            idle=counts[State.IDLE],
            busy=counts[State.BUSY],
            settling=counts[State.SETTLING],
            draining=counts[State.DRAINING],
            connecting=counts[State.CONNECTING],
            waiting=len(slots.waiting),
            oldest_wait=slots.oldest_wait(self._clock()),
            sent=self._sent,
            answered=self._answered,
            connects=self._connects,
            retries=dict(self._retries),
            errors=dict(self._errors),
            away=tuple(str(e.address) for e in slots.endpoints if e.error is not None),
        )

    def _tick(self) -> None:
        now = self._clock()
        slots = self._slots
        self._ticker = None
        for exchange in slots.overdue(now):
            self._fail(exchange, QueueTimeoutError(now - exchange.queued_at))
        for connection in list(self._connections):
            self._check_deadlines(connection, now)
        for connection in slots.surplus(now):
            self._close(connection, now)
        self._pump(now)
        self._look_whether_empty()
        if slots.opened or slots.waiting:
            self._ticker = self._loop.call_later(_TICK, self._tick)

    def _check_deadlines(self, connection: Connection, now: float) -> None:
        error = connection.overdue(now, self.limits)
        if error is None:
            return
        exchange = connection.exchange
        if exchange is not None:
            self._abandon(connection, now)
            self._fail(exchange, error)
        # If a part is still unwritten, the application would wait for it for ever.
        connection.end_writing()
