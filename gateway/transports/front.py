"""The first protocol of every public connection: it reads one head and decides what follows.

A WebSocket upgrade is judged, put before the doorman and becomes a `WebSocket`; anything else is
handed to aiohttp's HTTP server with the bytes read so far. Nothing of the head outlives the
decision, so an open socket does not pay for how it came in.
"""

import asyncio
from collections.abc import Callable
from typing import Final, cast

import structlog
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpProcessingError, HttpRequestParser

from gateway.clock import Clock
from gateway.sessions.client import WEBSOCKET, TransportKind

from . import handshake
from .commons import Commons, Timing
from .describe import describe
from .descriptors import Descriptors
from .doorman import Doorman, Refusal, Welcome
from .eventstream import EventStream
from .head import RequestHead
from .proxies import TrustedProxies
from .upgrade import upgrade

log = structlog.get_logger(__name__)

MAX_HEAD: Final = 16 << 10
MAX_EARLY: Final = 64 << 10
"""Bytes kept of a client that talks before it was let in."""

_END: Final = b"\r\n\r\n"
_TOO_LATE: Final = handshake.refusal(408, "The request's head did not come in time.")
_FAILED: Final = handshake.refusal(500, "Something went wrong.")
DRAINING: Final = handshake.refusal(503, "Shutting down.", ("Retry-After", "1"))


class Entrance:
    """The public side of one worker: what its connections share, and the factory of them.

    Made inside the event loop. `plain` makes the protocol for requests that are no upgrades: an
    aiohttp `web.Server` or `AppRunner.server`.
    """

    def __init__(
        self,
        *,
        doorman: Doorman,
        plain: Callable[[], asyncio.Protocol],
        clock: Clock,
        timing: Timing | None = None,
        proxies: TrustedProxies | None = None,
    ) -> None:
        self.doorman = doorman
        self.plain = plain
        self.proxies = proxies or TrustedProxies()
        self.draining = False
        self.commons = Commons(clock, self._leave, timing or Timing())
        self.loop = asyncio.get_running_loop()
        self.base = BaseProtocol(self.loop)
        self.descriptors = Descriptors()

    def __call__(self) -> "FrontDoor":
        """For `loop.create_server` and `loop.create_unix_server`."""
        return FrontDoor(self)

    def drain(self) -> None:
        """From now on whoever comes in gets 503; those inside stay."""
        self.draining = True

    def close(self) -> None:
        """Let go of the timer, once every connection is gone."""
        self.commons.sweep.stop()

    def _leave(self, remote: str) -> None:
        self.doorman.leave(remote)


class FrontDoor(asyncio.Protocol):
    """Implements `doorman.Admission` while its client waits for the answer."""

    __slots__ = (
        "_entrance",
        "_head",
        "_kind",
        "_remote",
        "_request",
        "_transport",
        "gone",
    )

    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance
        self._head = b""
        self._transport: asyncio.Transport | None = None
        self._request: RequestHead | None = None
        self._kind = WEBSOCKET
        self._remote: str | None = None
        self.gone = False

    # The loop's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The clock for the head starts."""
        self._transport = cast("asyncio.Transport", transport)
        if self._entrance.descriptors.suffice(transport):
            self._entrance.commons.heads.add(self._on_head_deadline)
            return
        # At once, though the answer may be lost: waiting for its reader takes what is left.
        self.gone = True
        self._transport.write(handshake.NO_FILES)
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Collect the head; keep, within bounds, what comes before the doorman's answer."""
        if self.gone:
            return
        known = len(self._head)
        self._head += data
        if self._request is not None:
            if len(self._head) > MAX_EARLY:
                self._vanish()
                self._abort()
            return
        end = self._head.find(_END, max(0, known - len(_END) + 1)) + len(_END)
        if end < len(_END):
            if len(self._head) > MAX_HEAD:
                self._turn_away(handshake.TOO_LARGE)
        elif end > MAX_HEAD:
            self._turn_away(handshake.TOO_LARGE)
        else:
            self._entrance.commons.heads.discard(self._on_head_deadline)
            self._judge(end)

    def eof_received(self) -> None:
        """The client does not wait for an answer: the transport closes itself."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the loop's interface
        """The client has gone before it was let in."""
        commons = self._entrance.commons
        commons.heads.discard(self._on_head_deadline)
        commons.closing.discard(self._abort)
        self._vanish()
        self._transport = None

    # Deciding.

    def _judge(self, end: int) -> None:
        transport = self._transport
        if transport is None:
            return
        if self._entrance.draining:
            self._turn_away(DRAINING)
            return
        raw = self._head[:end]
        lower = raw.lower()
        if b"\nupgrade:" not in lower and b"text/event-stream" not in lower:
            self._hand_over(transport)
            return
        try:
            messages, _, _ = HttpRequestParser(
                self._entrance.base, self._entrance.loop, MAX_HEAD
            ).feed_data(raw)
        except HttpProcessingError as error:
            self._turn_away(handshake.unreadable(error, raw))
            return
        head = RequestHead.of_message(messages[0][0])
        kind = self._kind_of(head)
        if kind is None:
            self._hand_over(transport)
            return
        self._head = self._head[end:]
        self._ask(head, kind, transport)

    def _kind_of(self, head: RequestHead) -> TransportKind | None:
        if handshake.is_upgrade(head.headers):
            return WEBSOCKET
        if head.wants_events and TransportKind.SSE in self._entrance.doorman.offers(head.path):
            return TransportKind.SSE
        return None

    def go_on(self, transport: asyncio.Transport, head: RequestHead, early: bytes) -> None:
        """Take over a connection whose head somebody else has read."""
        self._transport = transport
        self._head = early
        if self._entrance.draining:
            self._turn_away(DRAINING)
            return
        self._ask(head, self._kind_of(head) or WEBSOCKET, transport)

    def _ask(self, head: RequestHead, kind: TransportKind, transport: asyncio.Transport) -> None:
        try:
            self._put(head, kind, transport)
        except Exception:
            log.exception("connection failed", transport=str(kind))
            self._turn_away(_FAILED)

    def _put(self, head: RequestHead, kind: TransportKind, transport: asyncio.Transport) -> None:
        entrance = self._entrance
        if kind is WEBSOCKET:
            refused = handshake.validate(head)
            if refused is not None:
                self._turn_away(refused)
                return
        asked = describe(head, transport, kind, entrance.proxies)
        refused = entrance.doorman.enter(asked.remote)
        if refused is not None:
            self._turn_away(refused)
            return
        self._request = head
        self._kind = kind
        self._remote = asked.remote
        entrance.doorman.admit(asked, self)

    def _hand_over(self, transport: asyncio.Transport) -> None:
        plain = self._entrance.plain()
        transport.set_protocol(plain)
        self._transport = None
        plain.connection_made(transport)
        plain.data_received(self._head)

    # The doorman's side.

    def accept(self, welcome: Welcome) -> None:
        """Answer; from here on the connection is a WebSocket or an event stream."""
        transport, head, remote = self._transport, self._request, self._remote
        if self.gone or transport is None or head is None or remote is None:
            return
        early, commons = self._head, self._entrance.commons
        if self._kind is not WEBSOCKET:
            stream = EventStream(transport, commons, remote=remote)
            self._let_go(transport, stream)
            origin = head.headers.get("origin", "")
            stream.begin(welcome.attach, welcome.terms, welcome.set_cookies, origin=origin)
            return
        try:
            websocket, answer = upgrade(transport, head, remote, welcome, commons)
        except Exception:
            self._turn_away(_FAILED)
            raise
        self._let_go(transport, websocket)
        transport.write(answer)
        websocket.open(welcome.attach, early)

    def _let_go(self, transport: asyncio.Transport, protocol: asyncio.Protocol) -> None:
        """The connection is another protocol's from now on."""
        self._transport = self._request = self._remote = None
        self.gone = True
        transport.set_protocol(protocol)

    def refuse(self, refusal: Refusal) -> None:
        """Answer, and end the connection."""
        if not self.gone:
            self._turn_away(refusal)

    # Ending.

    def _turn_away(self, refused: Refusal) -> None:
        transport = self._transport
        self._vanish()
        self._head = b""
        self._request = None
        commons = self._entrance.commons
        commons.heads.discard(self._on_head_deadline)
        if transport is None or transport.is_closing():
            return
        transport.write(handshake.encode_refusal(refused))
        commons.closing.add(self._abort)
        # Unread input would turn the close into a reset that overtakes the answer.
        if transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()

    def _vanish(self) -> None:
        """No answer is wanted any more."""
        if self.gone:
            return
        self.gone = True
        remote, self._remote = self._remote, None
        if remote is not None:
            self._entrance.doorman.leave(remote)

    def _on_head_deadline(self) -> None:
        self._turn_away(_TOO_LATE)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
