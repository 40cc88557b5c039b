"""Server-sent events: a response that does not end, one event a message.

Like a WebSocket it is an asyncio protocol with the bare socket behind it. Events are framed by
the end of the connection instead of by chunks, so that the bytes of one publication are the same
for every client.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from gateway.codes import CloseCode
from gateway.sessions.client import Client, Listener, TransportKind

from . import events, handshake
from .commons import Commons
from .doorman import Terms
from .sharing import sharing_headers

log = structlog.get_logger(__name__)

_SSE: Final = "sse"
_FAILED: Final = "connection failed"
_HEAD: Final = (
    "HTTP/1.1 200 OK",
    "Content-Type: text/event-stream; charset=utf-8",
    "Cache-Control: no-cache",
    "X-Accel-Buffering: no",
    "Connection: close",
)


class EventStream(asyncio.Protocol):
    """Implements `sessions.client.EventClient`.

    The listener hears `on_closed` when the socket is gone: with the code given to `close`, with
    1001 when the client went in order, with 1006 when the connection broke.
    """

    kind = TransportKind.SSE

    __slots__ = (
        "__weakref__",
        "_commons",
        "_end",
        "_listener",
        "_remote",
        "_transport",
        "congested",
        "encoding",
        "open",
    )

    def __init__(self, transport: asyncio.Transport, commons: Commons, *, remote: str) -> None:
        self._transport = transport
        self._commons = commons
        self._remote = remote
        self._end: tuple[int, str, bool] = (CloseCode.ABNORMAL, "", False)
        self._listener: Listener | None = None
        self.encoding: object = _SSE
        self.open = True
        self.congested = False

    def begin(
        self,
        attach: Callable[[Client], Listener],
        terms: Terms,
        set_cookies: tuple[str, ...] = (),
        *,
        origin: str = "",
    ) -> None:
        """Send the head and attach the listener; the page of the origin may read it."""
        self._transport.set_write_buffer_limits(high=terms.congestion_mark)
        cookies = [
            f"Set-Cookie: {cookie}"
            for cookie in set_cookies
            if handshake.is_clean("Set-Cookie", cookie)
        ]
        sharing = [f"{name}: {value}" for name, value in sharing_headers(origin)]
        head = "\r\n".join([*_HEAD, *sharing, *cookies, "", ""]).encode("utf-8", "surrogateescape")
        # A first comment makes proxies and EventSource take the stream for opened.
        self._transport.write(head + events.COMMENT)
        try:
            self._listener = attach(self)
        except Exception:
            log.exception(_FAILED, transport=_SSE)
            self.close(CloseCode.INTERNAL_ERROR, "")
            return
        if self.congested:
            # What was written while it attached was too much already.
            self._tell_congestion(congested=True)

    # The session's side.

    def encode(self, payload: bytes, *, text: bool) -> bytes:
        """One event without an id."""
        return events.encode_event(payload, text=text)

    def encode_event(
        self,
        payload: bytes,
        *,
        text: bool,
        content_type: str,  # noqa: ARG002 - an event has none
        event: str = "",
        event_id: str = "",
    ) -> bytes:
        """One event, with the id to resume after it."""
        return events.encode_event(payload, text=text, event=event, event_id=event_id)

    def encode_position(self, event_id: str) -> bytes:
        """An id alone."""
        return events.encode_position(event_id)

    def write(self, encoded: bytes) -> None:
        """Hand an event to the socket."""
        if self.open:
            self._transport.write(encoded)

    def buffered(self) -> int:
        """Bytes not yet taken by the kernel."""
        return self._transport.get_write_buffer_size() if self.open else 0

    def ping(self) -> None:
        """Write a comment. Nothing answers it: that the socket takes it is the sign of life."""
        if self.open and not self.congested:
            self._transport.write(events.COMMENT)
            if self._listener is not None:
                self._listener.on_activity()

    def close(self, code: int, reason: str) -> None:
        """End the response; the listener hears of it when all is sent, or at the deadline."""
        if not self.open:
            return
        self.open = False
        self._end = (code, reason, True)
        self._commons.closing.add(self.abort)
        self._transport.close()

    def abort(self) -> None:
        """Drop the socket."""
        self.open = False
        self._transport.abort()

    def pause_reading(self) -> None:
        """Nothing is read from an event stream's client."""

    def resume_reading(self) -> None:
        """Nothing is read from an event stream's client."""

    # The loop's side.

    def data_received(self, data: bytes) -> None:
        """Whatever it is, nobody has asked for it."""

    def eof_received(self) -> None:
        """The client goes in order: the transport closes itself."""
        if self.open:
            self._end = (CloseCode.GOING_AWAY, "", True)

    def pause_writing(self) -> None:
        """Called by the transport above its high-water mark."""
        self._tell_congestion(congested=True)

    def resume_writing(self) -> None:
        """Called by the transport below its low-water mark."""
        self._tell_congestion(congested=False)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        code, reason, clean = self._end if exc is None else (CloseCode.ABNORMAL, "", False)
        self.open = False
        self._commons.closing.discard(self.abort)
        listener, self._listener = self._listener, None
        if listener is not None:
            try:
                listener.on_closed(code, reason, clean=clean)
            except Exception:
                log.exception(_FAILED, transport=_SSE)
        self._commons.leave(self._remote)

    def _tell_congestion(self, *, congested: bool) -> None:
        self.congested = congested
        if self._listener is None or not self.open:
            return
        try:
            self._listener.on_congested(congested=congested)
        except Exception:
            log.exception(_FAILED, transport=_SSE)
            self.close(CloseCode.INTERNAL_ERROR, "")
