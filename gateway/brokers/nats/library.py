"""One connection to NATS, with streams as histories need them. The only module that knows nats-py.

Nothing here has a deadline of its own: whoever calls gives one. What a call raises is one of
`FAILURES`, or an error of this module.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from random import uniform
from typing import Any, Final

import structlog

from gateway.errors import ConfigurationError

try:
    from nats import errors
    from nats.aio.client import Client
    from nats.js import api
    from nats.js import errors as js_errors
except ImportError as exc:  # pragma: no cover - the test environment has it
    raise ConfigurationError("NATS needs a library: pip install 'wsgate[nats]'") from exc

log: Final = structlog.get_logger()

FAILURES: Final = (js_errors.Error, errors.Error, OSError, TimeoutError)
_WRONG_SEQUENCE: Final = 10071
_NO_MESSAGE: Final = 10037
_EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"
_PERMISSIONS: Final = "permissions violation"
_FOREVER: Final = 10**9
_AT_ONCE: Final = 500


class ConflictError(Exception):
    """Somebody else has published to the subject since; nothing was stored."""


class NobodyError(Exception):
    """Nobody listens to the subject."""


class Subscription:
    """What is heard under a subject; it outlives a connection that is closed for good."""

    __slots__ = ("inner", "on_message", "subject")

    def __init__(self, subject: str, on_message: Callable[[Any], Awaitable[None]]) -> None:
        self.subject, self.on_message = subject, on_message
        self.inner: Any = None


class Connection:
    """Reconnects by itself without end, and subscribes again, until it is `closed` for good."""

    def __init__(self) -> None:
        self._client: Any = Client()
        self._flushes: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        """Whether the server was there when last heard of."""
        return bool(self._client.is_connected)

    @property
    def closed(self) -> bool:
        """Whether it will never be connected again."""
        return bool(self._client.is_closed)

    @property
    def max_payload(self) -> int:
        """Bytes that the server takes."""
        return int(self._client.max_payload)

    @property
    def trouble(self) -> str:
        """What happened last, in the library's words."""
        return str(self._client.last_error or "the connection has ended")

    async def open(
        self,
        servers: Sequence[str],
        *,
        on_error: Callable[[Exception], Awaitable[None]],
        on_down: Callable[[], Awaitable[None]],
        on_up: Callable[[], Awaitable[None]],
    ) -> None:
        """Connect, however long that takes; `on_up` is called when it is there again."""

        async def disconnected() -> None:
            self._give_up_flushes()
            await on_down()

        await self._client.connect(
            list(servers),
            error_cb=on_error,
            disconnected_cb=disconnected,
            reconnected_cb=on_up,
            max_reconnect_attempts=-1,
            # Each worker has a pace of its own, so that they do not come back in step.
            reconnect_time_wait=uniform(0.1, 0.4),  # noqa: S311 - no secret
            connect_timeout=2,
            # Signs of life are asked for by the gateway; the library would count every flush.
            ping_interval=_FOREVER,
            max_outstanding_pings=_FOREVER,
        )

    async def close(self) -> None:
        """Disconnect for good."""
        try:
            await self._client.close()
        finally:
            self._give_up_flushes()

    async def reconnect(self) -> None:
        """Give up the socket there is."""
        await self._client.force_reconnect()

    # Messages

    async def subscribe(self, wanted: Subscription) -> None:
        """Write that the subject is wanted."""
        wanted.inner = await self._client.subscribe(wanted.subject, cb=wanted.on_message)

    async def unsubscribe(self, subscription: Subscription) -> None:
        """Write that it is not wanted any more; never raises."""
        with contextlib.suppress(errors.Error, OSError):
            await subscription.inner.unsubscribe()

    async def publish(self, subject: str, payload: bytes) -> None:
        """Write a message."""
        await self._client.publish(subject, payload)

    async def flush(self) -> None:
        """Return when the server has had everything that was written."""
        if self._client._reading_task.done():  # noqa: SLF001 - where nobody reads, the library says yes
            raise ConnectionResetError("nobody reads what the server answers")
        # An answer that nobody waits for any more would end the library's reading for good. So who
        # gives up waiting leaves the library waiting.
        flush = asyncio.ensure_future(self._client.flush(timeout=_FOREVER))
        self._flushes.add(flush)
        flush.add_done_callback(self._end_flush)
        await asyncio.wait({flush})
        if flush.cancelled():
            raise ConnectionResetError("the connection has ended")
        flush.result()

    def _give_up_flushes(self) -> None:
        """Their answers will not come any more."""
        for each in tuple(self._flushes):
            each.cancel()

    def _end_flush(self, flush: asyncio.Task[None]) -> None:
        self._flushes.discard(flush)
        if not flush.cancelled():
            flush.exception()  # who gave up waiting does not fetch it

    async def request(self, subject: str, payload: bytes, within: float) -> bytes:
        """The answer of whoever serves the subject; NobodyError."""
        try:
            answer = await self._client.request(subject, payload, timeout=within)
        except errors.NoRespondersError as exc:
            raise NobodyError from exc
        return bytes(answer.data)

    # Streams

    async def has_streams(self) -> bool:
        """Whether JetStream is on for this account."""
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
        await self._client.jetstream().add_stream(config)

    async def append(self, subject: str, payload: bytes, last: int) -> int:
        """Store behind the message of that sequence (0: none yet); ConflictError if it is not."""
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
        try:
            found = await self._client.jetstream().get_last_msg(stream, subject)
        except js_errors.NotFoundError as exc:
            if exc.err_code == _NO_MESSAGE:
                return None
            raise
        return int(found.seq), found.data or b""

    async def reader(self, stream: str, subject: str) -> "Reader":
        """A reader of the kept messages of a subject, oldest first."""
        config = api.ConsumerConfig(
            deliver_policy=api.DeliverPolicy.ALL,
            ack_policy=api.AckPolicy.NONE,
            inactive_threshold=10.0,
            mem_storage=True,
        )
        return Reader(
            await self._client.jetstream().pull_subscribe(subject, stream=stream, config=config)
        )


class Reader:
    """Reads on from where it stands."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer

    async def more(self, within: float) -> list[tuple[int, datetime, bytes]]:
        """The next messages: sequence, when it was stored, data."""
        messages = await self._consumer.fetch(_AT_ONCE, timeout=within)
        found = [(message.metadata, message.data) for message in messages]
        return [(where.sequence.stream, where.timestamp, data) for where, data in found]

    async def close(self) -> None:
        """Read no further; never raises."""
        with contextlib.suppress(errors.Error, OSError):
            await self._consumer.unsubscribe()


def dropped(error: Exception) -> str:
    """The subject of which the library has dropped messages, if that is what the error says."""
    return error.subject if isinstance(error, errors.SlowConsumerError) else ""


def is_refusal(error: Exception) -> bool:
    """Whether the server does not permit one subject; the connection stands all the same."""
    return _PERMISSIONS in str(error).lower()


def is_timeout(error: Exception) -> bool:
    """Whether there was no answer."""
    return isinstance(error, TimeoutError | errors.TimeoutError)
