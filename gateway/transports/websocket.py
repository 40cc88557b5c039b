"""One WebSocket: bytes to messages for a session, messages to bytes for a client.

It is an asyncio protocol: everything happens inside the loop's callbacks, without a task. Bytes
pass the guard, then aiohttp's reader, then go to the listener one whole message at a time.
Routes, PHP and channels are unknown here, and so is keep-alive: the session decides when to ping.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

import structlog
from aiohttp.http import WebSocketReader, WSMsgType

from gateway.sessions.client import Client, Listener, TransportKind

from . import deflate
from .commons import Commons
from .doorman import Terms
from .frames import NO_CODE, Opcode, encode, encode_close, is_sendable
from .guard import INVALID_TEXT, PROTOCOL_ERROR, TOO_BIG, FrameError, FrameGuard
from .inbox import Message
from .utf8 import is_utf8

log = structlog.get_logger(__name__)

CONTROL_RATE: Final = 50
"""Pings and pongs a client may send in a second; the burst is the same."""

NO_CLOSE_FRAME: Final = 1006
POLICY: Final = 1008
INTERNAL: Final = 1011
TRY_AGAIN: Final = 1013

_CONTROL_BURST: Final = 1.001
"""In seconds; a hair more than one, for the rounding of fifty sums."""
_PING: Final = encode(b"", Opcode.PING)
_PLAIN: Final = "websocket"
_FAILED: Final = "connection failed"
_TEXT_FRAME: Final = int(Opcode.TEXT)
_BINARY_FRAME: Final = int(Opcode.BINARY)
_TEXT: Final = WSMsgType.TEXT
_BINARY: Final = WSMsgType.BINARY
_CLOSE: Final = WSMsgType.CLOSE


class State(Enum):
    """How far the closing has come."""

    OPEN = auto()
    CLOSING = auto()
    """We have ended it and wait for the client's close frame, or for the socket to go."""
    CLOSED = auto()
    """The listener knows the end; what still comes in is thrown away."""


# Looked up for every frame: a global costs a fraction of an enum's attribute.
_OPEN: Final = State.OPEN
_CLOSED: Final = State.CLOSED


class _Signal(Enum):
    WE_END = auto()
    PEER_CLOSES = auto()
    BREAKS = auto()


_NEXT: Final = {
    (State.OPEN, _Signal.WE_END): State.CLOSING,
    (State.OPEN, _Signal.PEER_CLOSES): State.CLOSED,
    (State.OPEN, _Signal.BREAKS): State.CLOSED,
    (State.CLOSING, _Signal.PEER_CLOSES): State.CLOSED,
    (State.CLOSING, _Signal.BREAKS): State.CLOSED,
}


class WebSocket(asyncio.Protocol):
    """Implements `sessions.client.Client`; made by the front door once the handshake is done.

    The listener hears `on_closed` exactly once: with the client's code after its close frame,
    with ours when it never answered ours, with 1006 when the socket just went.
    """

    kind = TransportKind.WEBSOCKET

    __slots__ = (
        "__weakref__",
        "_booked",
        "_commons",
        "_control_due",
        "_delivering",
        "_end",
        "_guard",
        "_held",
        "_listener",
        "_paused",
        "_reader",
        "_remote",
        "_state",
        "_terms",
        "_transport",
        "_window_bits",
        "congested",
        "encoding",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        commons: Commons,
        terms: Terms,
        *,
        remote: str,
        window_bits: int = 0,
    ) -> None:
        self._transport = transport
        self._commons = commons
        self._terms = terms
        self._remote = remote
        self._window_bits = window_bits
        # Windows differ, so do the bytes; without compression all clients share them.
        self.encoding: object = (deflate.EXTENSION, window_bits) if window_bits else _PLAIN
        self._state = State.OPEN
        self._end: tuple[int, str] = (NO_CLOSE_FRAME, "")
        # Compressed bytes are counted on the wire, and may be a little more than the message.
        slack = (terms.max_message >> 8) + 64 if window_bits else 0
        self._guard = FrameGuard(terms.max_message + slack, compressed=bool(window_bits))
        self._reader: WebSocketReader | None = None
        self._listener: Listener | None = None
        self._held: deque[Message] | None = None
        self._paused = False
        self._delivering = False
        self._booked = 0
        self._control_due = 0.0
        self.congested = False

    def open(self, attach: Callable[[Client], Listener], early: bytes) -> None:
        """Attach the listener, then read what the client sent before it was let in."""
        self._transport.set_write_buffer_limits(high=self._terms.congestion_mark)
        try:
            self._listener = attach(self)
        except Exception:
            log.exception(_FAILED, transport=_PLAIN)
            self._fail(INTERNAL, "")
            return
        if early:
            self.data_received(early)

    # The session's side.

    def encode(self, payload: bytes, *, text: bool) -> bytes:
        """One frame, compressed where that was negotiated and is worth it."""
        opcode = _TEXT_FRAME if text else _BINARY_FRAME
        if self._window_bits and len(payload) >= deflate.WORTHWHILE:
            return encode(deflate.compress(payload, self._window_bits), opcode, compressed=True)
        return encode(payload, opcode)

    def write(self, encoded: bytes) -> None:
        """Hand a frame to the socket."""
        if self._state is _OPEN:
            self._transport.write(encoded)

    def buffered(self) -> int:
        """Bytes not yet taken by the kernel; what this turn of the loop wrote is among them."""
        return 0 if self._state is _CLOSED else self._transport.get_write_buffer_size()

    def ping(self) -> None:
        """Ask for a pong, unless the client does not even take what was written before."""
        if not self.congested:
            self.write(_PING)

    def close(self, code: int, reason: str) -> None:
        """Send a close frame and wait for the client's, until the deadline.

        Raises ValueError for a code that must not be sent.
        """
        if self._state is not _OPEN:
            return
        self._transport.write(encode_close(code, reason))
        self._advance(_Signal.WE_END)
        self._end = (code, reason)
        self._commons.closing.add(self._on_close_deadline)
        self._hear_the_rest()

    def abort(self) -> None:
        """Drop the socket; the listener hears of it when it is gone."""
        if self._state is _OPEN:
            self._advance(_Signal.WE_END)
        self._transport.abort()

    def pause_reading(self) -> None:
        """Stop; messages already in hand are kept for later."""
        if self._paused or self._state is not _OPEN:
            return
        self._paused = True
        self._commons.messages.discard(self._on_message_deadline)
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Deliver what was kept, in order, then read on. May be called from `on_message`."""
        if not self._paused:
            return
        self._paused = False
        if not self._delivering:
            self._deliver_held()
        if not self._paused and self._state is _OPEN:
            self._transport.resume_reading()
            if self._guard.unfinished:
                self._commons.messages.add(self._on_message_deadline)

    # The loop's side.

    def data_received(self, data: bytes) -> None:
        """Guard, read, deliver."""
        if self._state is _CLOSED:
            return
        guard = self._guard
        before = guard.unfinished
        broken: FrameError | None = None
        try:
            guard.feed(data)
        except FrameError as error:
            broken = error
            data = data[: error.offset]
        reader = self._reader or self._make_reader()
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
            self._book()

    def eof_received(self) -> None:
        """The client sends nothing more: the transport closes itself."""

    def pause_writing(self) -> None:
        """Called by the transport above its high-water mark."""
        self._tell_congestion(congested=True)

    def resume_writing(self) -> None:
        """Called by the transport below its low-water mark."""
        self._tell_congestion(congested=False)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the loop's interface
        """The socket is gone."""
        if self._state is not _CLOSED:
            self._finish(*self._end, clean=False, signal=_Signal.BREAKS)
        self._commons.closing.discard(self._on_close_deadline)
        self._commons.leave(self._remote)

    # Reading.

    def _make_reader(self) -> WebSocketReader:
        """Only clients that talk need one. Its limit is exclusive, hence the one more."""
        self._reader = WebSocketReader(
            self._commons.inbox,
            self._guard.max_message + 1,
            compress=bool(self._window_bits),
            decode_text=False,
        )
        return self._reader

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

    def _deliver(self, message: Message) -> None:
        kind = message[0]
        if self._state is not _OPEN:
            if kind is _CLOSE and self._state is not _CLOSED:
                self._on_close_frame(message)
            return
        try:
            if kind is _TEXT:
                self._on_data(message[1], text=True)
            elif kind is _BINARY:
                self._on_data(message[1], text=False)
            elif kind is _CLOSE:
                self._on_close_frame(message)
            else:
                self._on_control(message)
        except Exception:
            log.exception(_FAILED, transport=_PLAIN)
            self._fail(INTERNAL, "")

    def _on_data(self, payload: bytes, *, text: bool) -> None:
        if self._window_bits and len(payload) > self._terms.max_message:
            self._fail(TOO_BIG, f"message exceeds {self._terms.max_message} bytes")
        elif text and not payload.isascii() and not is_utf8(payload):
            self._fail(INVALID_TEXT, "not UTF-8")
        elif self._listener is not None:
            self._listener.on_message(payload, text=text)

    def _on_control(self, message: Message) -> None:
        # GCRA: one number is a whole token bucket.
        now = self._commons.clock.monotonic()
        self._control_due = max(self._control_due, now) + 1 / CONTROL_RATE
        if self._control_due - now > _CONTROL_BURST:
            self._fail(POLICY, "too many control frames")
            return
        if message[0] is WSMsgType.PING and not self.congested:
            self._transport.write(encode(bytes(message[1]), Opcode.PONG))
        if self._listener is not None:
            self._listener.on_activity()

    # Ending.

    def _on_close_frame(self, message: Message) -> None:
        code, reason = int(message[1] or NO_CODE), str(message[2] or "")
        if code != NO_CODE and not is_sendable(code):
            self._fail(PROTOCOL_ERROR, f"close code {code} must not be sent")
            return
        if self._state is _OPEN:
            self._transport.write(encode_close(code))
        else:
            code, reason = self._end
        self._finish(code, reason, clean=True, signal=_Signal.PEER_CLOSES)
        self._commons.closing.add(self._on_close_deadline)
        self._transport.close()

    def _fail(self, code: int, reason: str) -> None:
        """Fail the WebSocket connection (RFC 6455 section 7.1.7)."""
        if self._state is _CLOSED:
            return
        if self._state is _OPEN:
            self._transport.write(encode_close(code, reason))
        self._finish(code, reason, clean=False, signal=_Signal.BREAKS)
        self._commons.closing.add(self._on_close_deadline)
        # Closing a socket with unread input resets it, and the reset would overtake the close
        # frame. So only our half is shut, and the input is thrown away until the client goes.
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _finish(self, code: int, reason: str, *, clean: bool, signal: _Signal) -> None:
        self._advance(signal)
        self._commons.messages.discard(self._on_message_deadline)
        self._commons.budget.change(-self._booked)
        self._booked = 0
        self._reader = None
        self._hear_the_rest()
        listener, self._listener = self._listener, None
        if listener is not None:
            try:
                listener.on_closed(code, reason, clean=clean)
            except Exception:
                log.exception(_FAILED, transport=_PLAIN)

    def _hear_the_rest(self) -> None:
        """Nothing more is delivered, but the client's close frame or its end must be seen."""
        if self._paused:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
        if not self._delivering:
            self._deliver_held()

    def _advance(self, signal: _Signal) -> None:
        self._state = _NEXT[self._state, signal]

    # Limits that span chunks.

    def _book(self) -> None:
        """Account for a message that is, or was, unfinished."""
        if self._state is _CLOSED:
            return
        guard, waiting = self._guard, self._commons.messages
        held, self._booked = self._booked, guard.held
        if not self._commons.budget.change(guard.held - held):
            self._fail(TRY_AGAIN, "too many unfinished messages")
        elif not guard.unfinished:
            waiting.discard(self._on_message_deadline)
        elif (guard.ended or self._on_message_deadline not in waiting) and not self._paused:
            waiting.add(self._on_message_deadline)

    def _on_message_deadline(self) -> None:
        self._fail(POLICY, "message took too long")

    def _on_close_deadline(self) -> None:
        self._transport.abort()

    def _tell_congestion(self, *, congested: bool) -> None:
        self.congested = congested
        if self._listener is not None and self._state is _OPEN:
            try:
                self._listener.on_congested(congested=congested)
            except Exception:
                log.exception(_FAILED, transport=_PLAIN)
                self._fail(INTERNAL, "")
