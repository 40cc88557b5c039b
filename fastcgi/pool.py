"""The connections to one application, and everybody who waits for one.

The path of a request is synchronous: `submit` takes an idle connection and sends, the socket's
event feeds the reader, the connection goes to whoever waits first, the exchange gets its answer.
No task, future or timer belongs to a request; one ticking timer keeps all deadlines, and only
while there is something to keep. The books are right again before any foreign code is called.

Metrics need no hooks: an exchange carries when it was queued and sent, `statistics` has the rest.
"""

import asyncio
import random
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from enum import IntEnum, auto
from typing import Final

from .address import Address, UnixAddress
from .connecting import connect_unix, open_socket
from .connection import Connection, Retry
from .endpoint import Endpoint
from .errors import (
    ConnectError,
    Executed,
    FastCGIError,
    LocalProtocolError,
    PoolClosedError,
    QueueFullError,
    QueueTimeoutError,
    RequestTimeoutError,
    UpstreamUnavailableError,
    WriteTimeoutError,
)
from .exchange import Exchange
from .limits import Limits, PoolStatistics
from .records import encode_request
from .response import Response
from .slots import Slots, State

_TICK: Final = 0.05
# How often a settling connection is looked at while somebody waits.
_SETTLE_PAUSE: Final = 0.001

AddressObserver = Callable[[Address, ConnectError | None], None]


class _Phase(IntEnum):
    OPEN = auto()
    DRAINING = auto()
    CLOSED = auto()


class Pool:
    """All connections to the addresses of one application.

    Belongs to one event loop. `on_address` hears when an address stops being reachable (with the
    error) and when it is reachable again (None); it must neither raise nor call the pool.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        limits: Limits,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        on_address: AddressObserver | None = None,
    ) -> None:
        self.limits = limits
        self._loop = loop or asyncio.get_running_loop()
        self._clock = clock
        self._jitter = jitter
        self._on_address = on_address
        self._slots: Slots[Connection, Exchange] = Slots(
            addresses,
            limit=limits.max_connections,
            queue_size=limits.queue_size,
            queue_timeout=limits.queue_timeout,
            idle_timeout=limits.idle_timeout,
            retry_for=limits.retry_for,
        )
        self._phase = _Phase.OPEN
        self._connections: set[Connection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._ticker: asyncio.TimerHandle | None = None
        self._settler: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Event = asyncio.Event()
        self._retries: Counter[Retry] = Counter()
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
        if slots.waiting:
            self._pump(now)
        if self._ticker is None:
            self._ticker = self._loop.call_later(_TICK, self._tick)

    def cancel(self, exchange: Exchange) -> bool:
        """Nobody wants the answer any more; True if it was in time, and no callback will come.

        One that waits leaves the queue unexecuted. One that was sent is executed to its end, and
        its connection counts until then.
        """
        if self._slots.withdraw(exchange):
            self._look_whether_empty()
            return True
        for connection in self._connections:
            if connection.exchange is exchange:
                self._drain(connection, self._clock())
                self._look_whether_empty()
                return True
        return False

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
        exchange = _AwaitedExchange(
            params, body, timeout=timeout, script=script, idempotent=idempotent
        )
        exchange.future = self._loop.create_future()
        self.submit(exchange)
        try:
            return await exchange.future
        except asyncio.CancelledError:
            self.cancel(exchange)
            raise

    def set_limit(self, limit: int) -> None:
        """Allow so many connections from now on; idle ones beyond it close, busy ones finish."""
        self._slots.limit = limit
        now = self._clock()
        for connection in self._slots.surplus(now):
            self._close(connection, now)
        if self._phase is not _Phase.CLOSED:
            self._pump(now)

    async def drain(self, timeout: float) -> bool:  # noqa: ASYNC109 - running out is an answer here
        """Take no more, let everybody who is here be answered, then close.

        False if that took longer than `timeout` and `close` had to fail the rest.
        """
        if self._phase is _Phase.OPEN:
            self._phase = _Phase.DRAINING
        now = self._clock()
        for connection in [c for c in self._connections if c.exchange is None]:
            self._close(connection, now)
        self._look_whether_empty()
        try:
            await asyncio.wait_for(self._emptied.wait(), timeout)
        except TimeoutError:
            return False
        finally:
            await self.close()
        return True

    async def close(self) -> None:
        """End everything now: who waits or is being answered fails with PoolClosedError."""
        self._phase = _Phase.CLOSED
        now = self._clock()
        for exchange in list(self._slots.waiting):
            self._slots.withdraw(exchange)
            self._fail(exchange, PoolClosedError())
        for connection in list(self._connections):
            exchange_under_way, connection.exchange = connection.exchange, None
            self._close(connection, now)
            if exchange_under_way is not None:
                error = PoolClosedError()
                error.executed = Executed.MAYBE
                self._fail(exchange_under_way, error)
        for timer in (self._ticker, self._settler):
            if timer is not None:
                timer.cancel()
        self._ticker = self._settler = None
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
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
            retries={str(reason): count for reason, count in self._retries.items()},
            errors=dict(self._errors),
            away=tuple(str(e.address) for e in slots.endpoints if e.error is not None),
        )

    # -- for connections ---------------------------------------------------------------------

    def answered(self, connection: Connection, response: Response, *, reusable: bool) -> None:
        """Give the connection back, hand the answer over, then see who is next."""
        now = self._clock()
        slots = self._slots
        exchange, connection.exchange = connection.exchange, None
        self._answered += 1
        useful = self._phase is _Phase.OPEN or slots.waiting
        if reusable and useful and slots.opened <= slots.limit:
            slots.release(connection, now, settle=connection.settles)
        else:
            self._close(connection, now)
        if exchange is not None:
            try:
                exchange.on_response(response)
            except Exception as error:  # noqa: BLE001 - foreign code; others are still to be served
                self._report("Exchange.on_response raised", error)
        # By now php-fpm has had the few microseconds it needs to come back for the next request.
        if connection.state is State.SETTLING and connection.has_settled():
            slots.settled(connection, now)
        if slots.waiting:
            self._pump(now, just_proven=connection)
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
                self._retries[retry] += 1
                self._slots.requeue(exchange)
        self._pump(now)
        self._look_whether_empty()

    # -- inside ------------------------------------------------------------------------------

    def _pump(self, now: float, just_proven: Connection | None = None) -> None:
        """Serve those who wait, as far as connections are free or may be opened."""
        slots = self._slots
        for connection in [c for c in slots.settling if c is not just_proven and c.has_settled()]:
            slots.settled(connection, now)
        while slots.waiting:
            taken = slots.take(now)
            if taken is None:
                endpoint = slots.wanted(now)
                if endpoint is None:
                    break
                self._open(endpoint, now)
            else:
                exchange, _ = slots.waiting.popitem(last=False)
                self._serve(taken, exchange, now, proven=taken is just_proven)
        if slots.waiting:
            error = slots.outage(now)
            if error is not None:
                for exchange in list(slots.waiting):
                    slots.withdraw(exchange)
                    # An exception of its own for each: they collect tracebacks.
                    self._fail(exchange, type(error)(error.address, error.reason))
            elif slots.settling and self._settler is None:
                self._settler = self._loop.call_later(_SETTLE_PAUSE, self._look_at_settling)

    def _serve(
        self, connection: Connection, exchange: Exchange, now: float, *, proven: bool = False
    ) -> None:
        """Send it, or put it back into the queue because the connection turned out useless."""
        if not proven and not connection.is_clean():
            self._return(connection, exchange, Retry.CHECKOUT, now)
            return
        limits = self.limits
        keep = limits.keepalive and len(exchange.body) <= limits.keepalive_max_body
        try:
            data = encode_request(exchange.params, exchange.body, keep=keep)
        except LocalProtocolError as error:
            self._slots.release(connection, now, settle=False)
            self._fail(exchange, error)
            return
        if connection.send(exchange, data, now, keep=keep):
            self._sent += 1
        else:
            self._return(connection, exchange, Retry.BROKEN_PIPE, now)

    def _return(
        self, connection: Connection, exchange: Exchange, reason: Retry, now: float
    ) -> None:
        self._retries[reason] += 1
        self._slots.requeue(exchange)
        if not connection.used:
            # A peer that accepts and closes must not keep us in a loop.
            address = str(connection.endpoint.address)
            error = UpstreamUnavailableError(address, "it closes new connections")
            self._note_failure(connection.endpoint, error, started=now)
        self._close(connection, now)

    def _open(self, endpoint: Endpoint, now: float) -> None:
        self._slots.begin_connect(endpoint)
        if isinstance(endpoint.address, UnixAddress):
            try:
                sock = connect_unix(endpoint.address)
            except ConnectError as error:
                self._on_connect_failure(endpoint, error, started=now)
                return
            if sock is not None:
                self._on_connected(endpoint, sock)
                return
        task = self._loop.create_task(self._connect(endpoint, now))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, endpoint: Endpoint, started: float) -> None:
        try:
            sock = await open_socket(endpoint.address, self.limits.connect_timeout)
        except ConnectError as error:
            self._on_connect_failure(endpoint, error, started=started)
        except asyncio.CancelledError:
            self._slots.cancel_connect(endpoint)
            raise
        else:
            self._on_connected(endpoint, sock)
        self._pump(self._clock())

    def _on_connected(self, endpoint: Endpoint, sock: socket.socket) -> None:
        connection = Connection(
            sock, endpoint, self, loop=self._loop, max_response=self.limits.max_response
        )
        self._connections.add(connection)
        self._connects += 1
        was_away = endpoint.error is not None
        self._slots.connected(connection, self._clock())
        if was_away and self._on_address is not None:
            self._on_address(endpoint.address, None)

    def _on_connect_failure(
        self, endpoint: Endpoint, error: ConnectError, *, started: float
    ) -> None:
        self._slots.cancel_connect(endpoint)
        self._note_failure(endpoint, error, started=started)

    def _note_failure(self, endpoint: Endpoint, error: ConnectError, *, started: float) -> None:
        was_away = endpoint.error is not None
        endpoint.failed(error, started=started, now=self._clock(), jitter=self._jitter())
        if not was_away and self._on_address is not None:
            self._on_address(endpoint.address, error)

    def _close(self, connection: Connection, now: float) -> None:
        connection.close()
        self._connections.discard(connection)
        self._slots.close(connection, now)

    def _drain(self, connection: Connection, now: float) -> None:
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
        elapsed = now - connection.sent_at
        if connection.writing and elapsed >= self.limits.write_timeout:
            self._give_up(connection, WriteTimeoutError(self.limits.write_timeout), now)
            # The application would wait for the rest for ever.
            connection.end_writing()
        elif (exchange := connection.exchange) is not None:
            first_byte = self.limits.first_byte_timeout
            if now >= exchange.expires_at:
                self._give_up(connection, RequestTimeoutError(exchange.timeout), now)
            elif first_byte is not None and elapsed >= first_byte and not connection.bytes_seen:
                self._give_up(connection, RequestTimeoutError(first_byte), now)

    def _give_up(self, connection: Connection, error: FastCGIError, now: float) -> None:
        exchange = connection.exchange
        if exchange is not None:
            self._drain(connection, now)
            self._fail(exchange, error)

    def _look_at_settling(self) -> None:
        self._settler = None
        self._pump(self._clock())

    def _look_whether_empty(self) -> None:
        slots = self._slots
        if self._phase is _Phase.OPEN or slots.waiting or slots.counts[State.BUSY]:
            return
        self._emptied.set()

    def _report(self, message: str, error: Exception) -> None:
        self._loop.call_exception_handler({"message": message, "exception": error})


class _AwaitedExchange(Exchange):
    """An exchange whose end is awaited."""

    __slots__ = ("future",)

    future: asyncio.Future[Response]

    def on_response(self, response: Response) -> None:
        if not self.future.done():
            self.future.set_result(response)

    def on_failure(self, error: FastCGIError) -> None:
        if not self.future.done():
            self.future.set_exception(error)
