"""One WebSocket: bytes to messages for a session, messages to bytes for a client.

It is an asyncio protocol: everything happens inside the loop's callbacks, without a task. Bytes
pass the guard, then aiohttp's reader, then go to the listener one whole message at a time.
Routes, PHP and channels are unknown here, and so is keep-alive: the session decides when to ping.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog
from aiohttp.http import WSMsgType

from gateway.codes import CloseCode
from gateway.sessions.client import Client, Listener

from .closing import CLOSED, NEXT, OPEN, Signal
from .commons import Commons
from .doorman import Terms
from .frames import NO_CODE, Opcode, encode, encode_close, is_sendable
from .inbox import Message
from .inlet import Inlet
from .outlet import PLAIN
from .utf8 import is_utf8

log = structlog.get_logger(__name__)

CONTROL_RATE: Final = 50
"""Pings and pongs a client may send in a second; the burst is the same."""


_CONTROL_BURST: Final = 1.001
"""In seconds; a hair more than one, for the rounding of fifty sums."""
_FAILED: Final = "connection failed"
_GONE: Final = (CloseCode.ABNORMAL, "")
_TEXT: Final = WSMsgType.TEXT
_BINARY: Final = WSMsgType.BINARY
_CLOSE: Final = WSMsgType.CLOSE


class WebSocket(Inlet):
    """Implements `sessions.client.Client`; made by the front door once the handshake is done.

    The listener hears `on_closed` exactly once: with the client's code after its close frame,
    with ours when it never answered ours, with 1006 when the socket just went.
    """

    __slots__ = (
        "__weakref__",
        "_control_due",
        "_end",
        "_listener",
        "_remote",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        commons: Commons,
        terms: Terms,
        remote: str,
        window_bits: int = 0,
    ) -> None:
        super().__init__(transport, window_bits, commons, terms)
        self._remote = remote
        self._end: tuple[int, str] = _GONE
        self._listener: Listener | None = None
        self._control_due = 0.0

    def open(self, attach: Callable[[Client], Listener], early: bytes) -> None:
        """Attach the listener, then read what the client sent before it was let in."""
        self._transport.set_write_buffer_limits(high=self._terms.congestion_mark)
        try:
            self._listener = attach(self)
        except Exception:
            log.exception(_FAILED, transport=PLAIN)
            self._fail(CloseCode.INTERNAL_ERROR, "")
            return
        if self.congested:
            # What was written while it attached was too much already.
            self._tell_congestion(congested=True)
        if early:
            self.data_received(early)

    # The session's side; `Inlet` and `Outlet` have the rest of it.

    def close(self, code: int, reason: str) -> None:
        """Send a close frame and wait for the client's, until the deadline.

        Raises ValueError for a code that must not be sent.
        """
        if self._state is not OPEN:
            return
        self._transport.write(encode_close(code, reason))
        self._advance(Signal.WE_END)
        self._end = (code, reason)
        self._commons.closing.add(self._on_close_deadline)
        self._hear_the_rest()

    def abort(self) -> None:
        """Drop the socket; the listener hears of it when it is gone."""
        if self._state is OPEN:
            self._advance(Signal.WE_END)
        self._transport.abort()

    # The loop's side.

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
        if self._state is not CLOSED:
            self._finish(*self._end, clean=False, signal=Signal.BREAKS)
        self._commons.closing.discard(self._on_close_deadline)
        self._commons.leave(self._remote)

    def _deliver(self, message: Message) -> None:
        kind = message[0]
        if self._state is not OPEN:
            if kind is _CLOSE and self._state is not CLOSED:
                self._on_close_frame(message)
            return
        try:
            if kind is _TEXT or kind is _BINARY:
                payload, text = message[1], kind is _TEXT
                if self._window_bits and len(payload) > self._terms.max_message:
                    limit = self._terms.max_message
                    self._fail(CloseCode.TOO_BIG, f"message exceeds {limit} bytes")
                elif text and not payload.isascii() and not is_utf8(payload):
                    self._fail(CloseCode.INVALID_TEXT, "not UTF-8")
                elif self._listener is not None:
                    self._listener.on_message(payload, text=text)
            elif kind is _CLOSE:
                self._on_close_frame(message)
            else:
                self._on_control(message)
        except Exception:
            log.exception(_FAILED, transport=PLAIN)
            self._fail(CloseCode.INTERNAL_ERROR, "")

    def _on_control(self, message: Message) -> None:
        # GCRA: one number is a whole token bucket.
        now = self._commons.clock.monotonic()
        self._control_due = max(self._control_due, now) + 1 / CONTROL_RATE
        if self._control_due - now > _CONTROL_BURST:
            self._fail(CloseCode.POLICY_VIOLATION, "too many control frames")
            return
        if message[0] is WSMsgType.PING and not self.congested:
            self._transport.write(encode(bytes(message[1]), Opcode.PONG))
        if self._listener is not None:
            self._listener.on_activity()

    # Ending.

    def _on_close_frame(self, message: Message) -> None:
        code, reason = int(message[1] or NO_CODE), str(message[2] or "")
        if code != NO_CODE and not is_sendable(code):
            self._fail(CloseCode.PROTOCOL_ERROR, f"close code {code} must not be sent")
            return
        if self._state is OPEN:
            self._transport.write(encode_close(code))
        else:
            code, reason = self._end
        self._finish(code, reason, clean=True, signal=Signal.PEER_CLOSES)
        self._commons.closing.add(self._on_close_deadline)
        self._transport.close()

    def _fail(self, code: int, reason: str) -> None:
        """Fail the WebSocket connection (RFC 6455 section 7.1.7)."""
        if self._state is CLOSED:
            return
        if self._state is OPEN:
            self._transport.write(encode_close(code, reason))
        self._finish(code, reason, clean=False, signal=Signal.BREAKS)
        self._commons.closing.add(self._on_close_deadline)
        # Closing a socket with unread input resets it, and the reset would overtake the close
        # frame. So only our half is shut, and the input is thrown away until the client goes.
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _finish(self, code: int, reason: str, *, clean: bool, signal: Signal) -> None:
        self._advance(signal)
        self._forget()
        listener, self._listener = self._listener, None
        if listener is not None:
            try:
                listener.on_closed(code, reason, clean=clean)
            except Exception:
                log.exception(_FAILED, transport=PLAIN)

    def _advance(self, signal: Signal) -> None:
        self._state = NEXT[self._state, signal]
        self._stop_writing()

    def _on_close_deadline(self) -> None:
        self._transport.abort()

    def _tell_congestion(self, *, congested: bool) -> None:
        self.congested = congested
        if self._listener is not None and self._state is OPEN:
            try:
                self._listener.on_congested(congested=congested)
            except Exception:
                log.exception(_FAILED, transport=PLAIN)
                self._fail(CloseCode.INTERNAL_ERROR, "")
