"""The connection to NATS, kept up: signs of life, deadlines, one kind of error.

The library reconnects by itself; where it closes its connection for good, another one takes its
place. The server is asked for a sign of life every few seconds, and at once when a call has had
no answer: until one comes, calls fail without waiting. Every error leaves as a
BrokerUnavailableError.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import structlog

from gateway.errors import BrokerUnavailableError, ConfigurationError, UnsupportedByBrokerError
from gateway.logs import Throttle
from gateway.remote.backoff import Backoff
from gateway.remote.patience import patience
from gateway.tasks import TaskSet

from .flushing import Flusher
from .library import FAILURES, Connection, Subscription, dropped, is_refusal, is_timeout
from .signs import Signs

log = structlog.get_logger()

Heard = Callable[[bytes], None]
Asked = Callable[[bytes, Callable[[bytes], Awaitable[None]]], None]

_STUCK: Final = 5.0
"""Writing waits only where the socket takes nothing more; that is for the signs of life to see."""


class NatsClient:
    """See the module's docstring. The callbacks must neither wait nor raise."""

    def __init__(
        self,
        url: str,
        *,
        on_up: Callable[[], None],
        on_down: Callable[[], None],
        on_slow: Callable[[str], None],
        deadline: float,
        ping_interval: float,
    ) -> None:
        self._servers = [each.strip() for each in url.split(",") if each.strip()]
        if not all(
            each.startswith(("nats://", "tls://", "ws://", "wss://")) for each in self._servers
        ):
            raise ConfigurationError("broker.url: expected nats://host:4222 or tls://host:4222")
        self._on_up, self._on_down, self._on_slow = on_up, on_down, on_slow
        self._deadline = deadline
        self._connection = Connection()
        self._subscriptions: set[Subscription] = set()
        self._signs = Signs(ping_interval)
        self._backoff = Backoff(0.1, 5.0)
        self._refusals = Throttle()
        self._tasks = TaskSet()
        self._flusher = Flusher(self._flush)
        self._stopped = False

    @property
    def ready(self) -> bool:
        """Whether a call can succeed now."""
        return self._connection.connected and not self._signs.silent

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._tasks.spawn(self._run(), name="nats")
        self._tasks.spawn(self._flusher.run(), name="nats flushes")

    async def stop(self) -> None:
        """Give the connection up. Idempotent."""
        self._stopped = True
        if self.ready:
            # From here on nobody asks this worker anything, and waits for no answer.
            for each in tuple(self._subscriptions):
                await self.unsubscribe(each)
            with contextlib.suppress(BrokerUnavailableError):
                await self._flush()
        await self._tasks.close()
        await self._close()

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(*FAILURES):
                await self._connect()
                await self._stay_alive()
            # Most of what a server refuses (`-ERR`) closes the connection for good.
            await self._close()
            await asyncio.sleep(self._backoff.pause())
            self._connection = Connection()

    async def _close(self) -> None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(self._deadline):
                await self._connection.close()

    async def _connect(self) -> None:
        await self._connection.open(
            self._servers,
            on_error=self._on_error,
            on_down=self._on_disconnected,
            on_up=self._come_up,
        )
        for each in tuple(self._subscriptions):
            await self._connection.subscribe(each)
        await self._come_up()

    async def _stay_alive(self) -> None:
        """Ask for signs of life until the connection is closed for good."""
        while not self._connection.closed:
            await self._signs.until_due()
            if self._connection.connected:
                await self._ask_for_life()

    async def _ask_for_life(self) -> None:
        try:
            async with patience(self._signs.interval):
                await self._connection.flush()
        except FAILURES:
            self._signs.away("NATS is silent", seconds=self._signs.interval)
            await self._connection.reconnect()
        else:
            self._signs.silent = False
            self._backoff.reset()

    async def _on_error(self, error: Exception) -> None:
        if subject := dropped(error):
            log.warning("NATS dropped messages: this worker does not keep up")
            self._on_slow(subject)
        elif is_refusal(error):
            if self._refusals.allows():
                log.warning("NATS refuses", reason=str(error), **self._refusals.taken())
        else:
            self._signs.away("NATS cannot be reached", reason=str(error) or type(error).__name__)

    async def _on_disconnected(self) -> None:
        if not self._stopped:
            self._signs.away("NATS cannot be reached", reason=self._connection.trouble)
            self._on_down()
            self._signs.look()

    async def _come_up(self) -> None:
        self._signs.back()
        self._on_up()

    # Messages

    async def subscribe(self, subject: str, heard: Heard) -> Subscription:
        """Hear the subject; when it returns, the server knows."""

        async def on_message(message: Any) -> None:
            heard(message.data)

        subscription = await self._subscribe(Subscription(subject, on_message), _STUCK)
        try:
            await self._flusher.flushed()
        except BaseException:
            await self.unsubscribe(subscription)
            raise
        return subscription

    async def serve(self, subject: str, asked: Asked) -> None:
        """Hear questions; the second argument of `asked` sends the answer."""

        async def on_message(message: Any) -> None:
            asked(message.data, message.respond)

        await self._subscribe(Subscription(subject, on_message), self._deadline)

    async def _subscribe(self, wanted: Subscription, deadline: float) -> Subscription:
        async with self._call(deadline=deadline):
            await self._connection.subscribe(wanted)
        self._subscriptions.add(wanted)
        return wanted

    async def unsubscribe(self, subscription: Subscription) -> None:
        """Hear it no longer; never raises."""
        self._subscriptions.discard(subscription)
        await self._connection.unsubscribe(subscription)

    async def send(self, subject: str, payload: bytes) -> asyncio.Future[None]:
        """Write; what is returned is done when the server has it."""
        async with self._call(len(payload), deadline=_STUCK):
            await self._connection.publish(subject, payload)
        return self._flusher.flushed()

    async def request(self, subject: str, payload: bytes, within: float) -> bytes:
        """The answer of whoever serves the subject; NobodyError."""
        self._check(len(payload))
        try:
            return await self._connection.request(subject, payload, within)
        except FAILURES as exc:
            raise BrokerUnavailableError(f"no answer: {type(exc).__name__}") from exc

    async def _flush(self) -> None:
        async with self._call():
            await self._connection.flush()

    # Streams

    async def has_streams(self) -> bool:
        """Whether JetStream is on for this account."""
        async with self._call():
            return await self._connection.has_streams()

    async def keep(
        self, stream: str, subjects: str, again: str, *, per_subject: int, seconds: float
    ) -> None:
        """Have a stream that keeps the subjects, and publishes what it has stored."""
        async with self._call(deadline=5 * self._deadline):
            await self._connection.keep(
                stream, subjects, again, per_subject=per_subject, seconds=seconds
            )

    async def append(self, subject: str, payload: bytes, last: int) -> int:
        """Store behind the message of that sequence (0: none yet); ConflictError if it is not."""
        async with self._call(len(payload)):
            return await self._connection.append(subject, payload, last)

    async def last(self, stream: str, subject: str) -> tuple[int, bytes] | None:
        """The newest message of the subject with its sequence."""
        async with self._call():
            return await self._connection.last(stream, subject)

    async def read(
        self, stream: str, subject: str, until: int
    ) -> AsyncIterator[tuple[int, datetime, bytes]]:
        """The kept messages of the subject, oldest first, to the sequence `until`."""
        async with self._call():
            reader = await self._connection.reader(stream, subject)
        try:
            reached = 0
            while reached < until:
                async with self._call():
                    messages = await reader.more(self._deadline)
                for reached, stored, data in messages:
                    if reached <= until:
                        yield reached, stored, data
        finally:
            await reader.close()

    # Errors

    def _check(self, size: int = 0) -> None:
        if not self.ready:
            raise BrokerUnavailableError("NATS cannot be reached")
        if size > self._connection.max_payload:
            raise UnsupportedByBrokerError(
                f"{size} bytes, this NATS server takes {self._connection.max_payload} (max_payload)"
            )

    @asynccontextmanager
    async def _call(self, size: int = 0, deadline: float = 0.0) -> AsyncIterator[None]:
        self._check(size)
        try:
            async with patience(deadline or self._deadline):
                yield
        except FAILURES as exc:
            if is_timeout(exc):
                self._signs.doubt()
            reason = str(exc) or type(exc).__name__
            raise BrokerUnavailableError(f"NATS: {reason}") from exc
