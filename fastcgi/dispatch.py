"""The moving part of a pool: brings exchanges and connections together.

Everything here is a synchronous callback. No task, future or timer belongs to a request, and the
books are right whenever foreign code is called.
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
from .connection import Connection
from .endpoint import Endpoint
from .errors import (
    FastCGIError,
    LocalProtocolError,
    UpstreamUnavailableError,
)
from .exchange import Exchange
from .limits import Limits
from .opener import AddressObserver, Opener, observe_nothing
from .records import encode_request
from .response import Response
from .retry import Retry
from .slot import State
from .slots import Slots

# While somebody waits, a connection that has just answered is looked at again in every turn of
# the loop, one that takes longer every millisecond.
_SETTLE_SOON: Final = 0.0001
_SETTLE_PAUSE: Final = 0.001


class Phase(Enum):
    """Whether new exchanges are taken, and whether old ones are still served."""

    OPEN = "open"
    DRAINING = "draining"
    CLOSED = "closed"


# Looked up for every request: a global costs a fraction of an enum's attribute.
OPEN: Final = Phase.OPEN


class Dispatch:
    """Serves who waits with what is free; `Pool` is its face and keeps the deadlines."""

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
        self.on_queued: Callable[[], None] | None = None
        """Called whenever an exchange found no free connection; must not call the pool."""
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
        self._phase = Phase.OPEN
        self._connections: set[Connection] = set()
        self._ticker: asyncio.TimerHandle | None = None
        self._settler: asyncio.Handle | None = None
        self._emptied = asyncio.Event()
        self._retries: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._sent = 0
        self._answered = 0
        self._connects = 0

    def answered(self, connection: Connection, exchange: Exchange, response: Response) -> None:
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
        if not connection.keep or slots.opened > slots.limit:
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
        if self._phase is not OPEN:
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

    def _look_whether_empty(self) -> None:
        slots = self._slots
        if self._phase is Phase.OPEN or slots.waiting or slots.counts[State.BUSY]:
            return
        self._emptied.set()
