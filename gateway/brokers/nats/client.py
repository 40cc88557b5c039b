"""The connection to NATS. The only module that knows nats-py.

The library reconnects by itself, without end, and subscribes again. It is asked for a sign of
life every few seconds, and at once when a call has had no answer: until one comes, calls fail
without waiting. Every error leaves as a BrokerUnavailableError.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from random import uniform
from typing import Any, Final

import structlog

from gateway.errors import BrokerUnavailableError, ConfigurationError, UnsupportedByBrokerError
from gateway.remote.patience import patience
from gateway.tasks import TaskSet

from .flushing import Flusher

try:
    from nats import errors
    from nats.aio.client import Client
    from nats.js import api
    from nats.js import errors as js_errors
except ImportError as exc:  # pragma: no cover - the test environment has it
    raise ConfigurationError("NATS needs a library: pip install 'wsgate[nats]'") from exc

log = structlog.get_logger()

Heard = Callable[[bytes], None]
Asked = Callable[[bytes, Callable[[bytes], Awaitable[None]]], None]

_WRONG_SEQUENCE: Final = 10071
_NO_STREAM: Final = 10059
_NO_MESSAGE: Final = 10037
_EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"
_FOREVER: Final = 10**9
_STUCK: Final = 5.0
"""Writing waits only where the socket takes nothing more; that is for the signs of life to see."""


class ConflictError(Exception):
    """Somebody else has published to the subject since; nothing was stored."""


class NobodyError(Exception):
    """Nobody listens to the subject."""


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
        self._deadline, self._ping_interval = deadline, ping_interval
        self._client: Any = Client()
        self._tasks = TaskSet()
        self._silent = False
        self._doubt = asyncio.Event()
        self._flusher = Flusher(self._flush)
        self._told = False
        self._stopped = False

    @property
    def ready(self) -> bool:
        """Whether a call can succeed now."""
        return bool(self._client.is_connected) and not self._silent

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._tasks.spawn(self._run(), name="nats")
        self._tasks.spawn(self._flusher.run(), name="nats flushes")

    async def stop(self) -> None:
        """Give the connection up. Idempotent."""
        self._stopped = True
        await self._tasks.close()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(self._deadline):
                await self._client.close()

    async def _run(self) -> None:
        await self._client.connect(
            self._servers,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
            max_reconnect_attempts=-1,
            # Each worker has a pace of its own, so that they do not come back in step.
            reconnect_time_wait=uniform(0.1, 0.4),  # noqa: S311 - no secret
            connect_timeout=2,
            # Signs of life are asked for below; the library would count every flush as one.
            ping_interval=_FOREVER,
            max_outstanding_pings=_FOREVER,
        )
        self._come_up()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._ping_interval):
                    await self._doubt.wait()
            self._doubt.clear()
            if self._client.is_connected:
                await self._ask_for_life()

    async def _ask_for_life(self) -> None:
        try:
            async with patience(self._ping_interval):
                await self._client.flush(timeout=_FOREVER)
        except (errors.Error, TimeoutError, OSError):
            log.warning("NATS is silent", seconds=self._ping_interval)
            await self._client.force_reconnect()
        else:
            self._silent = False

    async def _on_error(self, error: Exception) -> None:
        if isinstance(error, errors.SlowConsumerError):
            log.warning("NATS dropped messages: this worker does not keep up")
            self._on_slow(error.subject)
        elif not self._told:
            self._told = True
            log.warning("NATS cannot be reached", reason=str(error) or type(error).__name__)

    async def _on_disconnected(self) -> None:
        if not self._stopped:
            self._on_down()

    async def _on_reconnected(self) -> None:
        self._come_up()

    def _come_up(self) -> None:
        self._told = self._silent = False
        self._on_up()

    # Messages

    async def subscribe(self, subject: str, heard: Heard) -> Any:
        """Hear the subject; when it returns, the server knows."""

        async def on_message(message: Any) -> None:
            heard(message.data)

        async with self._call(deadline=_STUCK):
            subscription = await self._client.subscribe(subject, cb=on_message)
        await self._flusher.flushed()
        return subscription

    async def serve(self, subject: str, asked: Asked) -> Any:
        """Hear questions; the second argument of `asked` sends the answer."""

        async def on_message(message: Any) -> None:
            asked(message.data, message.respond)

        async with self._call():
            return await self._client.subscribe(subject, cb=on_message)

    async def unsubscribe(self, subscription: Any) -> None:
        """Hear it no longer; never raises."""
        with contextlib.suppress(errors.Error, OSError):
            await subscription.unsubscribe()

    async def send(self, subject: str, payload: bytes) -> asyncio.Future[None]:
        """Write; what is returned is done when the server has it."""
        async with self._call(len(payload), deadline=_STUCK):
            await self._client.publish(subject, payload)
        return self._flusher.flushed()

    async def request(self, subject: str, payload: bytes, timeout: float) -> bytes:  # noqa: ASYNC109 - the library's own
        """The answer of whoever serves the subject; NobodyError."""
        self._check(len(payload))
        try:
            answer = await self._client.request(subject, payload, timeout=timeout)
        except errors.NoRespondersError as exc:
            raise NobodyError from exc
        except (errors.Error, OSError) as exc:
            raise BrokerUnavailableError(f"no answer: {type(exc).__name__}") from exc
        return bytes(answer.data)

    # Streams

    async def has_streams(self) -> bool:
        """Whether JetStream is on for this account."""
        async with self._call():
            try:
                await self._client.jetstream().account_info()
            except (js_errors.APIError, errors.NoRespondersError) as exc:
                log.warning("JetStream refuses", reason=str(exc))
                return False
        return True

    async def keep(
        self, stream: str, subjects: str, again: str, *, per_subject: int, seconds: float
    ) -> None:
        """Have a stream that keeps the subjects, and publishes what it has stored."""
        config = api.StreamConfig(
            name=stream,
            subjects=[subjects],
            max_msgs_per_subject=per_subject,
            max_age=seconds,
            storage=api.StorageType.FILE,
            republish=api.RePublish(src=subjects, dest=again),
        )
        async with self._call(deadline=5 * self._deadline):
            await self._client.jetstream().add_stream(config)

    async def append(self, subject: str, payload: bytes, last: int) -> int:
        """Store behind the message of that sequence (0: none yet); ConflictError if it is not."""
        async with self._call(len(payload)):
            try:
                ack = await self._client.jetstream().publish(
                    subject, payload, headers={_EXPECTED: str(last)}, timeout=_FOREVER
                )
            except js_errors.APIError as exc:
                if exc.err_code == _WRONG_SEQUENCE:
                    raise ConflictError from exc
                raise
        return int(ack.seq)

    async def last(self, stream: str, subject: str) -> tuple[int, bytes] | None:
        """The newest message of the subject with its sequence."""
        async with self._call():
            try:
                found = await self._client.jetstream().get_last_msg(stream, subject)
            except js_errors.NotFoundError as exc:
                if exc.err_code == _NO_MESSAGE:
                    return None
                raise
        return int(found.seq), found.data or b""

    async def read(
        self, stream: str, subject: str, until: int
    ) -> AsyncIterator[tuple[int, datetime, bytes]]:
        """The kept messages of the subject, oldest first, to the sequence `until`."""
        config = api.ConsumerConfig(
            deliver_policy=api.DeliverPolicy.ALL,
            ack_policy=api.AckPolicy.NONE,
            inactive_threshold=10.0,
            mem_storage=True,
        )
        async with self._call():
            consumer = await self._client.jetstream().pull_subscribe(
                subject, stream=stream, config=config
            )
        try:
            reached = 0
            while reached < until:
                async with self._call():
                    messages = await consumer.fetch(500, timeout=self._deadline)
                for message in messages:
                    where = message.metadata
                    reached = where.sequence.stream
                    if reached <= until:
                        yield reached, where.timestamp, message.data
        finally:
            with contextlib.suppress(errors.Error, OSError):
                await consumer.unsubscribe()

    async def _flush(self) -> None:
        async with self._call():
            await self._client.flush(timeout=_FOREVER)

    # Errors

    def _check(self, size: int = 0) -> None:
        if not self.ready:
            raise BrokerUnavailableError("NATS cannot be reached")
        if size > self._client.max_payload:
            raise UnsupportedByBrokerError(
                f"{size} bytes, this NATS server takes {self._client.max_payload} (max_payload)"
            )

    @asynccontextmanager
    async def _call(self, size: int = 0, deadline: float = 0.0) -> AsyncIterator[None]:
        self._check(size)
        try:
            async with patience(deadline or self._deadline):
                yield
        except (js_errors.Error, errors.Error, OSError, TimeoutError) as exc:
            if isinstance(exc, TimeoutError | errors.TimeoutError):
                self._silent = True
                self._doubt.set()
            reason = str(exc) or type(exc).__name__
            raise BrokerUnavailableError(f"NATS: {reason}") from exc
