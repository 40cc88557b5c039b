"""One live client: what its transport tells, what channels tell, what it is told.

A session outlives its socket while PHP still works for it: what the client had sent is executed,
and only then PHP hears `disconnect`. Nothing here awaits, knows frames on the wire or opens a
socket; what has to wait (joining a channel) runs as a task of the worker's.
"""

from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from typing import Final

import structlog

from gateway.backend.environ import BINARY_TYPE, event_block
from gateway.backend.invocation import Invocation
from gateway.channels.broker import Member
from gateway.channels.publication import Message, Publication
from gateway.channels.service import Source
from gateway.codes import RATE_LIMITED, CloseCode, Failure

from .client import Client
from .commands import Commands
from .identity import Identity
from .joining import may_publish
from .limits import Bucket
from .route import Route
from .services import Services
from .turns import Turns
from .wire import Wire, goodbye

log: Final = structlog.get_logger()

_MOST_EARLY: Final = 1024


class State(Enum):
    """The life of a session."""

    JOINING = auto()
    """PHP or the channels are being asked; there is no client yet."""
    OPEN = auto()
    CLOSING = auto()
    """We have said goodbye; nothing more is accepted or sent."""
    ENDED = auto()
    """The client is gone; what it had sent is still being executed."""
    OVER = auto()


_NEXT: Final = {
    State.JOINING: {State.OPEN, State.OVER},
    State.OPEN: {State.CLOSING, State.ENDED},
    State.CLOSING: {State.ENDED},
    State.ENDED: {State.OVER},
    State.OVER: set[State](),
}


class Session(Turns):
    """Everything the gateway holds of one client.

    Fulfils `client.Listener` (what the transport tells), `backend.invocation.Asker` (what PHP
    answers) and `channels.subscriber.Subscriber` (what is published).
    """

    __slots__ = (
        "_bucket",
        "_commands",
        "_early",
        "_end",
        "_retiring",
        "_state",
        "congested_since",
        "connected_at_ms",
        "expires_at",
        "heard_at",
        "pinged_at",
        "publish_to",
        "remote",
        "spoke_at",
    )

    def __init__(
        self, route: Route, services: Services, identity: Identity, wire: Wire, remote: str
    ) -> None:
        super().__init__(route, services, identity, wire)
        self.remote = remote
        self.publish_to: str | None = None
        self.expires_at: float | None = None
        now = services.now()
        self.connected_at_ms = 0
        # What keep-alive looks at: the last sign of life, the last message either way, when a
        # ping went out that has no answer yet, since when the client does not read (0.0: not).
        self.heard_at = self.spoke_at = now
        self.pinged_at = 0.0
        self.congested_since = 0.0
        self._state = State.JOINING
        self._early: list[Callable[[], None]] | None = None
        self._end: tuple[int, str, bool] = (CloseCode.ABNORMAL, "", False)
        self._commands: Commands | None = None
        self._retiring: tuple[int, str] | None = None
        rate = route.limits.message_rate
        self._bucket = None if rate is None else Bucket(rate.per_second, now)

    @property
    def user(self) -> str:
        """Who the connection belongs to, or an empty string."""
        return self.identity.user

    @property
    def open(self) -> bool:
        """Whether the client can be sent something."""
        return self._state is State.OPEN

    @property
    def commands(self) -> Commands:
        """What the client asks for besides PHP; made when it first does."""
        if self._commands is None:
            self._commands = Commands(self)
        return self._commands

    def _enter(self, state: State) -> None:
        if state not in _NEXT[self._state]:
            raise RuntimeError(f"a session cannot go from {self._state.name} to {state.name}")
        self._state = state

    def use(self, wire: Wire) -> None:
        """Speak another wire; only before the client is let in."""
        self.wire = wire

    def attach(self, client: Client) -> "Session":
        """The transport has let the client in: it is told what happened meanwhile."""
        self.client = client
        self._enter(State.OPEN)
        self.heard_at = self.spoke_at = self.services.now()
        self.services.directory.add(self)
        self.services.keepalive.watch(self)
        self.wire.connected(self)
        early, self._early = self._early, None
        for tell in early or ():
            tell()
        return self

    async def abandon(self) -> None:
        """The client was not let in after all: nothing of it remains."""
        if self._state is State.JOINING:
            self._enter(State.OVER)
            await self.services.channels.leave_all(self)

    async def lost(self) -> None:
        """The client went while PHP let it in: PHP hears that it is gone."""
        await self.abandon()
        self.services.farewell.add(self)

    # What the transport tells.

    def on_message(self, payload: bytes, *, text: bool) -> None:
        """Take one message; it is answered with a frame, an error frame or a close code."""
        self.heard_at = self.spoke_at = now = self.services.now()
        self.pinged_at = 0.0
        if self._bucket is not None and not self._bucket.take(now):
            self._exceeded(now, self._bucket)
            return
        self.route.numbers.received(text=text)
        self.wire.receive(self, payload, text=text)

    def on_activity(self) -> None:
        """Note a sign of life."""
        self.heard_at = self.services.now()
        self.pinged_at = 0.0

    def on_congested(self, *, congested: bool) -> None:
        """Note that the client does not read, or reads again; the sweep looks for how long."""
        self.congested_since = self.services.now() if congested else 0.0
        if congested:
            self.services.keepalive.watch(self)
            self._check_buffer()

    def on_closed(self, code: int, reason: str, *, clean: bool) -> None:
        """Leave the channels at once; PHP hears of it when all that was sent is executed."""
        self._end = (code, reason, clean)
        self._enter(State.ENDED)
        services = self.services
        services.directory.remove(self)
        services.metrics.closed(code)
        if self._commands is not None or services.channels.joined(self):
            services.tasks.spawn(services.channels.leave_all(self), name="leaving channels")
        if not self.busy:
            self.on_idle()

    def resume(self) -> None:
        """Read on, unless the client is on its way out."""
        if self._state is State.OPEN and self._retiring is None:
            self.client.resume_reading()

    def on_idle(self) -> None:
        """Everything is concluded: after the client's end comes PHP's `disconnect`."""
        if self._state is State.ENDED:
            self._enter(State.OVER)
            self.services.farewell.add(self)
        elif self._retiring is not None:
            self.close(*self._retiring)

    def publish_frame(self, channel: str, payload: bytes, *, text: bool) -> None:
        """A frame of a raw client that goes to a channel instead of to PHP."""
        content_type = self.route.destination.route.content_type if text else BINARY_TYPE

        async def publish() -> None:
            await may_publish(self, channel, payload)
            message = Message(payload, content_type)
            await self.services.channels.publish(channel, message, source=Source.CLIENT)

        self.commands.do(publish, tag=None)

    # What the client is told.

    def send(self, payload: bytes, *, text: bool) -> None:
        """One message to the client; nothing happens when it is gone."""
        if self._state is State.OPEN:
            client = self.client
            self.spoke_at = self.services.now()
            client.write(client.encode(payload, text=text))
            if self.congested_since:
                self._check_buffer()
        elif self._state is State.JOINING:
            self._tell_later(partial(self.send, payload, text=text))

    def push(self, payload: bytes, content_type: str) -> None:
        """A message that nobody has asked for; the payload must suit the type."""
        self.route.numbers.pushes.value += 1
        self.wire.push(self, payload, content_type)

    def fail(self, failure: Failure, tag: object, message_id: int, detail: str = "") -> None:
        """An error frame, in the place where a reply would have stood."""
        shown = detail if self.services.show_details else ""
        self.wire.failure(self, failure, tag, message_id, shown)

    def ping(self, now: float) -> None:
        """Ask for a sign of life."""
        self.pinged_at = now
        self.client.ping()

    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye; what is on its way to PHP is still executed."""
        if self._state is State.OPEN:
            self._enter(State.CLOSING)
            self.client.close(code, reason)
        elif self._state is State.JOINING:
            self._tell_later(partial(self.close, code, reason))

    def retire(self, code: int, reason: str) -> None:
        """Close as soon as everything that the client sent is concluded; it is not read on."""
        if self._state is State.OPEN and self.busy:
            self.client.pause_reading()
            self._retiring = (code, reason)
        else:
            self.close(code, reason)

    def rebind(self, route: Route) -> None:
        """Go on by another version of the route; what is with PHP ends by the old one."""
        self.route = route

    def too_slow(self) -> None:
        """Give up on a client that does not read; it never slows the others."""
        if self._state is State.OPEN:
            self.services.metrics.slow_consumers_total.labelled().value += 1
            self.close(CloseCode.TRY_AGAIN_LATER, "slow consumer")

    def vanished(self) -> None:
        """Give up on a client that did not answer a ping."""
        if self._state is State.OPEN:
            self.client.abort()

    def _tell_later(self, tell: Callable[[], None]) -> None:
        if self._early is None:
            self._early = []
        if len(self._early) < _MOST_EARLY:
            self._early.append(tell)
        elif len(self._early) == _MOST_EARLY:
            self._early.append(self.too_slow)

    def _check_buffer(self) -> None:
        if self.client.buffered() > self.route.limits.send_buffer:
            self.too_slow()

    def _exceeded(self, now: float, bucket: Bucket) -> None:
        """Answer a client that is too fast: with an error frame, then with the close."""
        if bucket.warned(now):
            self.close(CloseCode.POLICY_VIOLATION, RATE_LIMITED.message)
        else:
            self.fail(RATE_LIMITED, None, 0)

    # What channels tell.

    def deliver(self, publication: Publication) -> None:
        """Hand on a publication."""
        if self._state is State.OPEN:
            self.spoke_at = self.services.now()
            self.client.write(self.wire.publication(self.client, publication))
            if self.congested_since:
                self._check_buffer()
        elif self._state is State.JOINING:
            self._tell_later(partial(self.deliver, publication))

    def on_join(self, channel: str, member: Member) -> None:
        """Somebody came."""
        self.wire.joined(self, channel, member)

    def on_leave(self, channel: str, member: Member) -> None:
        """Somebody went."""
        self.wire.left(self, channel, member)

    def on_gap(self, channel: str) -> None:
        """Publications may have been missed."""
        self.wire.gap(self, channel)

    def on_channel_closed(self, channel: str) -> None:  # noqa: ARG002 - whichever it was
        """The channel was taken away: the connection that was in it ends."""
        self.close(CloseCode.CHANNEL_CLOSED, "channel closed")

    # What others are told of it.

    def describe(self) -> dict[str, str | int | list[str]]:
        """What the API shows."""
        return {
            "id": self.id,
            "user": self.user,
            "route": self.route.name,
            "transport": str(self.client.kind),
            "remote": self.remote,
            "connected_at": self.connected_at_ms,
            "messages": self.message_id,
            "channels": list(self.services.channels.joined(self)),
        }

    def farewell(self) -> Invocation | None:
        """The `disconnect` event, or None where PHP does not want it."""
        target = self.route.hooks.disconnect
        if target is None:
            return None
        code, reason, clean = self._end
        body = goodbye(code, reason, clean=clean)
        extra = (("WS_CLOSE_CODE", str(code)), ("WS_CLOSE_REASON", reason.replace("\0", "")))
        blocks = (
            self.identity.block,
            self.identity.state_block,
            event_block("disconnect", len(body), extra),
        )
        return Invocation(target, blocks, body, self.services.farewell)
