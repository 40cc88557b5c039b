"""The connections to one application, and everybody who waits for one.

The path of a request is synchronous: `submit` takes an idle connection and sends, the socket's
event feeds the reader, the exchange gets its answer, the connection goes to whoever waits first.
No task, future or timer belongs to a request; one ticking timer keeps all deadlines, and only
while there is something to keep. The books are right whenever foreign code is called.

Metrics need no hooks: an exchange carries when it was queued and sent, `statistics` has the rest.
"""

import asyncio
import random
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final

from .address import Address
from .awaited import AwaitedExchange
from .connection import Connection, Retry
from .endpoint import Endpoint
from .errors import (
    Executed,
    FastCGIError,
    LocalProtocolError,
    PoolClosedError,
    QueueFullError,
    QueueTimeoutError,
    UpstreamUnavailableError,
)
from .exchange import Exchange
from .limits import Limits, PoolStatistics
from .opener import AddressObserver, Opener, observe_nothing
from .records import encode_request
from .response import Response
from .slots import Slots, State

_TICK: Final = 0.05
# While somebody waits, a connection that has just answered is looked at again in every turn of
# the loop, one that takes longer every millisecond.
_SETTLE_SOON: Final = 0.0001
_SETTLE_PAUSE: Final = 0.001


class _Phase(Enum):
    OPEN = "open"
    DRAINING = "draining"
    CLOSED = "closed"


class Pool:
    """All connections to the addresses of one application; belongs to one event loop.

    `on_address` hears when an address stops being reachable (with the error) and when it is
    reachable again (None); it must neither raise nor call the pool.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        limits: Limits,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        on_address: AddressObserver = observe_nothing,
    ) -> None:
        self.limits = limits
        self._loop = loop or asyncio.get_running_loop()
        self._clock = clock
        self._slots: Slots[Connection, Exchange] = Slots(
            addresses,
            limit=limits.max_connections,
            queue_size=limits.queue_size,
            queue_timeout=limits.queue_timeout,
            idle_timeout=limits.idle_timeout,
            retry_for=limits.retry_for,
        )
        self._opener = Opener(
            self._on_opened,
            self._pump_now,
            on_address,
            loop=self._loop,
            connect_timeout=limits.connect_timeout,
            clock=clock,
            jitter=jitter,
        )
        self._phase = _Phase.OPEN
        self._connections: set[Connection] = set()
        self._ticker: asyncio.TimerHandle | None = None
        self._settler: asyncio.Handle | None = None
        self._emptied = asyncio.Event()
        self._retries: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._sent = 0
        self._answered = 0
        self._connects = 0

    # -- for callers -------------------------------------------------------------------------

    def submit(self, exchange: Exchange) -> None:
        """Send now or join the queue; one callback of `exchange` comes later, never from here.

        Raises QueueFullError or PoolClosedError, and then no callback comes.
        """
        if self._phase is not _Phase.OPEN:
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
        if self._phase is _Phase.OPEN:
            self._phase = _Phase.DRAINING
        now = self._clock()
        if not self._slots.waiting:
            for connection in [c for c in self._connections if c.exchange is None]:
                self._close(connection, now)
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
        self._phase = _Phase.CLOSED
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
        return PoolStatistics(
            limit=slots.limit,
            idle=slots.counts[State.IDLE],
            busy=slots.counts[State.BUSY],
            settling=slots.counts[State.SETTLING],
            draining=slots.counts[State.DRAINING],
            connecting=slots.counts[State.CONNECTING],
            waiting=len(slots.waiting),
            oldest_wait=slots.oldest_wait(self._clock()),
            sent=self._sent,
            answered=self._answered,
            connects=self._connects,
            retries=dict(self._retries),
            errors=dict(self._errors),
            away=tuple(str(e.address) for e in slots.endpoints if e.error is not None),
        )

    # -- for connections ---------------------------------------------------------------------

    def answered(
        self, connection: Connection, exchange: Exchange, response: Response, *, reusable: bool
    ) -> None:
        """Hand the answer over, then the connection to whoever waits first.

        In this order: by the time the answer is delivered php-fpm has mostly had the 10 us it
        needs to come back for the next request, which `has_settled` proves.
        """
        slots = self._slots
        self._answered += 1
        connection.exchange = None
        slots.returning += 1
        try:
            exchange.on_response(response)
        except Exception as error:  # noqa: BLE001 - foreign code; others are still to be served
            context = {"message": "Exchange.on_response raised", "exception": error}
            self._loop.call_exception_handler(context)
        slots.returning -= 1
        now = self._clock()
        waiting = slots.waiting
        if not reusable or slots.opened > slots.limit:
            self._close(connection, now)
        elif not connection.has_settled():
            slots.release(connection, now)
        elif waiting:
            self._serve(connection, waiting.popitem(last=False)[0], now, proven=True)
            if connection.exchange is not None:
                return
        else:
            slots.park(connection, now)
        if waiting:
            self._pump(now)
        if self._phase is not _Phase.OPEN:
            self._look_whether_empty()

    def broken(
        self, connection: Connection, error: FastCGIError | None, retry: Retry | None
    ) -> None:
        """Close it; its exchange goes back to the front of the queue or fails."""
        now = self._clock()
        exchange, connection.exchange = connection.exchange, None
        self._close(connection, now)
        if exchange is not None and error is not None:
            if retry is None:
                self._fail(exchange, error)
            else:
                self._retries[retry.value] += 1
                self._slots.requeue(exchange)
        self._pump(now)
        self._look_whether_empty()

    # -- inside ------------------------------------------------------------------------------

    def _pump(self, now: float) -> None:
        """Serve those who wait, as far as connections are free or may be opened."""
        slots = self._slots
        if slots.settling:
            for connection in [c for c in slots.settling if c.has_settled()]:
                slots.settled(connection, now)
        while slots.waiting:
            taken = slots.take(now)
            if taken is not None:
                self._serve(taken, slots.waiting.popitem(last=False)[0], now)
                continue
            endpoint = slots.wanted(now)
            if endpoint is None:
                break
            slots.begin_connect(endpoint)
            self._opener.open(endpoint)
        if slots.waiting:
            error = slots.outage(now)
            if error is not None:
                while slots.waiting:
                    # An exception of its own for each: they collect tracebacks.
                    own = type(error)(error.address, error.reason)
                    self._fail(slots.waiting.popitem(last=False)[0], own)
            elif slots.settling and self._settler is None:
                self._look_later(now)

    def _look_later(self, now: float) -> None:
        if now - self._slots.settling[-1].since < _SETTLE_SOON:
            self._settler = self._loop.call_soon(self._look_at_settling)
        else:
            self._settler = self._loop.call_later(_SETTLE_PAUSE, self._look_at_settling)

    def _look_at_settling(self) -> None:
        self._settler = None
        self._pump_now()

    def _serve(
        self, connection: Connection, exchange: Exchange, now: float, *, proven: bool = False
    ) -> None:
        """Send it, or put it back into the queue because the connection turned out useless."""
        if not proven and not connection.is_clean():
            self._return(connection, exchange, Retry.CHECKOUT, now)
            return
        limits = self.limits
        body = exchange.body
        keep = limits.keepalive and len(body) <= limits.keepalive_max_body
        try:
            data = encode_request(exchange.params, body, keep=keep)
        except LocalProtocolError as error:
            self._slots.park(connection, now)
            self._fail(exchange, error)
            return
        if connection.send(exchange, data, now, keep=keep):
            self._sent += 1
        else:
            self._return(connection, exchange, Retry.BROKEN_PIPE, now)

    def _return(
        self, connection: Connection, exchange: Exchange, reason: Retry, now: float
    ) -> None:
        self._retries[reason.value] += 1
        self._slots.requeue(exchange)
        if not connection.used:
            # A peer that accepts and closes must not keep us in a loop.
            address = str(connection.endpoint.address)
            error = UpstreamUnavailableError(address, "it closes new connections")
            self._opener.note_failure(connection.endpoint, error, started=now)
        self._close(connection, now)

    def _on_opened(self, endpoint: Endpoint, sock: socket.socket | None) -> None:
        now = self._clock()
        if sock is None:
            self._slots.cancel_connect(endpoint)
        else:
            self._connects += 1
            connection = Connection(
                sock, endpoint, self, loop=self._loop, max_response=self.limits.max_response
            )
            self._connections.add(connection)
            self._slots.connected(connection, now)

    def _pump_now(self) -> None:
        self._pump(self._clock())

    def _close(self, connection: Connection, now: float) -> None:
        connection.close()
        self._connections.discard(connection)
        self._slots.close(connection, now)

    def _abandon(self, connection: Connection, now: float) -> None:
        self._slots.drain(connection, now)
        connection.abandon()

    def _fail(self, exchange: Exchange, error: FastCGIError) -> None:
        """Tell it soon: never from inside `submit`, never while the books are open."""
        self._errors[type(error).__name__] += 1
        self._loop.call_soon(exchange.on_failure, error)

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

    def _look_whether_empty(self) -> None:
        slots = self._slots
        if self._phase is _Phase.OPEN or slots.waiting or slots.counts[State.BUSY]:
            return
        self._emptied.set()
