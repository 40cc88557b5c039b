"""What one client is told, from PHP, from channels and from us.

Before the client is let in, what it is to be told is kept; after the goodbye nothing is sent any
more. A client that does not read fills the socket's buffer and is closed; it never slows others.
One message, or what a join has found, may be larger than that buffer: what counts is what the
client had left unread before it.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from gateway.codes import CloseCode, Failure
from gateway.logs import Throttle

from .client import Client
from .identity import Identity
from .peer import Peer
from .route import Route
from .services import Services
from .state import JOINING, NEXT, OPEN, State
from .wire import Wire

log: Final = structlog.get_logger()

_failures: Final = Throttle()
_MOST_EARLY: Final = 1024


class Outbox(Peer):
    """The part of a session that talks to its client."""

    __slots__ = (
        "_early",
        "_holds",
        "_shared",
        "_state",
        "client",
        "congested_since",
        "due",
        "expires_at",
        "heard_at",
        "identity",
        "message_id",
        "pinged_at",
        "route",
        "services",
        "spoke_at",
        "unread",
        "wire",
    )

    client: Client

    def __init__(self, route: Route, services: Services, identity: Identity, wire: Wire) -> None:
        self.route = route
        self.services = services
        self.identity = identity
        self.wire = wire
        self.message_id = 0
        self.expires_at: float | None = None
        # What keep-alive looks at: the last sign of life, the last message either way, when a
        # ping went out that has no answer yet, since when the client does not read (0.0: not) and
        # how much it had left unread then, and the second in which it looks next.
        self.heard_at = self.spoke_at = services.now()
        self.pinged_at = 0.0
        self.congested_since = 0.0
        self.unread = 0
        self.due = -1
        self._state: State = JOINING
        self._holds = 0
        self._shared: object = None
        self._early: list[Callable[[], None]] | None = None

    @property
    def id(self) -> str:
        """The connection's id: in `$_SERVER`, in the API, in presence."""
        return self.identity.id

    @property
    def user(self) -> str:
        """Who the connection belongs to, or an empty string."""
        return self.identity.user

    @property
    def open(self) -> bool:
        """Whether the client can be sent something."""
        return self._state is OPEN

    @property
    def present(self) -> bool:
        """Whether the client is here or on its way in; only then it may join channels."""
        return self._state is OPEN or self._state is JOINING

    @property
    def deaf(self) -> bool:
        """Whether we do not read from the client at the moment, so that no pong can arrive."""
        return self._holds > 0

    def _enter(self, state: State) -> None:
        if state not in NEXT[self._state]:
            raise RuntimeError(f"a session cannot go from {self._state.name} to {state.name}")
        if self._state is OPEN:
            self._changed()
        self._state = state

    def _changed(self) -> None:
        """Whoever has kept our `lane` must ask anew."""
        self.services.channels.changes.count += 1

    # Messages.

    def send(self, payload: bytes, *, text: bool) -> None:
        """One message to the client; nothing happens when it is gone."""
        if self._state is OPEN:
            if self.congested_since and self._is_full():
                return
            client = self.client
            if self.route.counts_silence:
                self.spoke_at = self.services.now()
            client.write(client.encode(payload, text=text))
        elif self._state is JOINING:
            self._tell_later(partial(self.send, payload, text=text))

    def tell(self, encode: Callable[[Client], bytes]) -> None:
        """One message to the client, encoded for it when it is in."""
        if self._state is OPEN:
            if self.congested_since and self._is_full():
                return
            self.spoke_at = self.services.now()
            self.client.write(encode(self.client))
        elif self._state is JOINING:
            self._tell_later(partial(self.tell, encode))

    def push(self, payload: bytes, content_type: str) -> None:
        """A message that nobody has asked for; the payload must suit the type."""
        self.route.numbers.pushes.value += 1
        self.wire.push(self, payload, content_type)

    def fail(self, failure: Failure, tag: object, message_id: int, detail: str = "") -> None:
        """An error frame, in the place where a reply would have stood."""
        shown = detail if self.services.show_details else ""
        self.wire.failure(self, failure, tag, message_id, shown)

    # Reading and being read.

    def hold(self) -> None:
        """Read nothing more from the client, until `release` was called as often as this."""
        self._holds += 1
        if self._holds == 1 and self._state is OPEN:
            self.client.pause_reading()

    def release(self) -> None:
        """One reason less not to read; what the client said meanwhile comes at once."""
        self._holds -= 1
        if not self._holds and self._state is OPEN:
            # Its pong may have waited in the socket; it gets its time anew.
            self.heard_at = self.services.now()
            self.pinged_at = 0.0
            self.client.resume_reading()

    def on_congested(self, *, congested: bool) -> None:
        """Note that the client does not read, or reads again; the sweep looks for how long."""
        self._changed()
        self.congested_since = self.services.now() if congested else 0.0
        self.unread = 0
        if congested and self._state is OPEN:
            self.unread = self.client.buffered()
            self.services.keepalive.watch(self)

    def has_read(self, now: float) -> bool:
        """Whether a congested client has taken enough of what it had left; if so, it counts anew.

        Enough is what may be unread at all: who takes it byte by byte would hold a large message
        for as long as he likes.
        """
        unread = self.client.buffered()
        if unread > self.unread - self.route.limits.send_buffer:
            return False
        self.congested_since, self.unread = now, unread
        return True

    def _is_full(self) -> bool:
        """Whether a congested client has left more unread than it may: then it is closed."""
        unread = self.client.buffered()
        if unread > self.route.limits.send_buffer:
            self.too_slow()
            return True
        self.unread = max(self.unread, unread)
        return False

    # Ending.

    def ping(self, now: float) -> None:
        """Ask for a sign of life."""
        self.pinged_at = now
        self.client.ping()

    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye; what is on its way to PHP is still executed."""
        if self._state is OPEN:
            self._enter(State.CLOSING)
            self.client.close(code, reason)
        elif self._state is JOINING:
            self._tell_later(partial(self.close, code, reason))

    def too_slow(self) -> None:
        """Give up on a client that does not read."""
        if self._state is OPEN:
            self.services.metrics.slow_consumers_total.labelled().value += 1
            self.close(CloseCode.TRY_AGAIN_LATER, "slow consumer")

    def vanished(self) -> None:
        """Give up on a client that did not answer a ping, or a close frame in time."""
        if self._state is OPEN or self._state is State.CLOSING:
            self._changed()
            self.client.abort()

    # Before the client is let in.

    def _tell_later(self, tell: Callable[[], None]) -> None:
        if self._early is None:
            self._early = []
        if len(self._early) < _MOST_EARLY:
            self._early.append(tell)
        elif len(self._early) == _MOST_EARLY:
            self._early.append(self.too_slow)

    def _tell_now(self) -> None:
        """The client is in: it is told what happened meanwhile."""
        early, self._early = self._early, None
        for tell in early or ():
            tell()

    def _broken(self, error: Exception) -> None:
        if _failures.allows():
            log.error(
                "session failed",
                route=self.route.name,
                connection=self.id,
                exc_info=error,
                **_failures.taken(),
            )
        self.close(CloseCode.INTERNAL_ERROR, "internal error")
