"""The way into a WebSocket: bytes to messages, held back while nobody wants them.

Bytes pass the guard, then aiohttp's reader. What a message means, and how the connection ends
when something is wrong with it, is `websocket`'s business.
"""

import asyncio
from abc import abstractmethod
from collections import deque

import structlog
from aiohttp.http import WebSocketReader

from gateway.codes import CloseCode

from .closing import CLOSED, OPEN
from .commons import Commons
from .doorman import Terms
from .guard import FrameError, FrameGuard
from .inbox import Message
from .outlet import PLAIN, Outlet

log = structlog.get_logger(__name__)


class Inlet(Outlet):
    """The reading half of a WebSocket."""

    __slots__ = (
        "_booked",
        "_commons",
        "_delivering",
        "_guard",
        "_held",
        "_paused",
        "_reader",
        "_terms",
    )

    def __init__(
        self, transport: asyncio.Transport, window_bits: int, commons: Commons, terms: Terms
    ) -> None:
        super().__init__(transport, window_bits)
        self._commons = commons
        self._terms = terms
        # Only clients that talk need these two.
        self._guard: FrameGuard | None = None
        self._reader: WebSocketReader | None = None
        self._held: deque[Message] | None = None
        self._paused = False
        self._delivering = False
        self._booked = 0

    @abstractmethod
    def _deliver(self, message: Message) -> None:
        """One message or control frame, in order; never raises."""

    @abstractmethod
    def _fail(self, code: int, reason: str) -> None:
        """The client broke a rule: the connection ends now."""

    def data_received(self, data: bytes) -> None:
        """Guard, read, deliver."""
        if self._state is CLOSED:
            return
        guard, reader = self._guard, self._reader
        if guard is None or reader is None:
            guard, reader = self._begin_reading()
        before = guard.unfinished
        broken: FrameError | None = None
        try:
            guard.feed(data)
        except FrameError as error:
            broken = error
            data = data[: error.offset]
        except Exception:
            log.exception("connection failed", transport=PLAIN)
            self._fail(CloseCode.INTERNAL_ERROR, "")
            return
        inbox = self._commons.inbox
        # Letting one client in can be a consequence of another's message: calls may nest.
        outer, inbox.recipient = inbox.recipient, self
        self._delivering = True
        failed, _ = reader.feed_data(data)
        inbox.recipient = outer
        if self._held and not self._paused:
            self._deliver_held()
        self._delivering = False
        if failed:
            self._fail(*inbox.take_error())
        elif broken is not None:
            self._fail(broken.code, broken.reason)
        elif before or guard.unfinished:
            self._book(guard)

    def pause_reading(self) -> None:
        """Stop; messages already in hand are kept for later."""
        if self._paused or self._state is not OPEN:
            return
        self._paused = True
        self._commons.messages.discard(self._on_message_deadline)
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Deliver what was kept, in order, then read on. May be called from `on_message`."""
        if not self._paused:
            return
        self._paused = False
        if not self._delivering:
            self._deliver_held()
        if not self._paused and self._state is OPEN and not self._transport.is_closing():
            self._transport.resume_reading()
            if self._guard is not None and self._guard.unfinished:
                self._commons.messages.add(self._on_message_deadline)

    def _begin_reading(self) -> tuple[FrameGuard, WebSocketReader]:
        """For a client's first bytes. The reader's limit is exclusive, hence the one more."""
        compressed, largest = bool(self._window_bits), self._terms.max_message
        if compressed:
            # These bytes are counted on the wire, and may be a little more than the message.
            largest += (largest >> 8) + 64
        guard = FrameGuard(largest, compressed=compressed)
        reader = WebSocketReader(
            self._commons.inbox, largest + 1, compress=compressed, decode_text=False
        )
        self._guard, self._reader = guard, reader
        return guard, reader

    def take(self, message: Message) -> None:
        """From the reader: one message or control frame."""
        if self._paused or self._held:
            if self._held is None:
                self._held = deque()
            self._held.append(message)
            if not self._paused:
                self._deliver_held()
        else:
            self._deliver(message)

    def _deliver_held(self) -> None:
        held = self._held
        if held is None:
            return
        outer, self._delivering = self._delivering, True
        while held and not self._paused:
            self._deliver(held.popleft())
        self._delivering = outer
        if not held:
            self._held = None

    def _hear_the_rest(self) -> None:
        """Nothing more is delivered, but the client's close frame or its end must be seen."""
        if self._paused:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
        if not self._delivering:
            self._deliver_held()

    def _forget(self) -> None:
        """The end has come: let go of everything that reading needs."""
        self._commons.messages.discard(self._on_message_deadline)
        self._commons.budget.change(-self._booked)
        self._booked = 0
        self._reader = None
        self._hear_the_rest()

    def _book(self, guard: FrameGuard) -> None:
        """Account for a message that is, or was, unfinished."""
        if self._state is CLOSED:
            return
        waiting = self._commons.messages
        held, self._booked = self._booked, guard.held
        if not self._commons.budget.change(guard.held - held):
            self._fail(CloseCode.TRY_AGAIN_LATER, "too many unfinished messages")
        elif not guard.unfinished:
            waiting.discard(self._on_message_deadline)
        elif (guard.ended or self._on_message_deadline not in waiting) and not self._paused:
            waiting.add(self._on_message_deadline)

    def _on_message_deadline(self) -> None:
        self._fail(CloseCode.POLICY_VIOLATION, "message took too long")
