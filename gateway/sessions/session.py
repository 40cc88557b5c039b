"""One live client: what its transport tells, and how it comes and goes.

A session outlives its socket while PHP still works for it: what the client had sent is executed,
and only then PHP hears `disconnect`. Nothing here awaits, knows frames on the wire or opens a
socket; what has to wait (joining a channel) runs as a task of the worker's.
"""

from typing import Final

import structlog

from gateway.backend.environ import BINARY_TYPE, event_block
from gateway.backend.invocation import Invocation
from gateway.channels.publication import Message
from gateway.channels.publishing import Source
from gateway.codes import RATE_LIMITED, CloseCode

from .client import Client
from .commands import Commands
from .identity import Identity
from .joining import may_publish
from .limits import Bucket
from .route import Route
from .services import Services
from .state import ENDED, OPEN, State
from .turns import Turns
from .wire import Wire, goodbye

log: Final = structlog.get_logger()

_GONE: Final = (CloseCode.ABNORMAL, "", False)


class Session(Turns):
    """Everything the gateway holds of one client.

    Fulfils `client.Listener` (what the transport tells), `backend.invocation.Asker` (what PHP
    answers) and `channels.subscriber.Subscriber` (what is published).
    """

    __slots__ = (
        "__weakref__",
        "_bucket",
        "_commands",
        "_end",
        "_retiring",
        "connected_at_ms",
        "publish_to",
        "remote",
    )

    def __init__(
        self, route: Route, services: Services, identity: Identity, wire: Wire, remote: str
    ) -> None:
        super().__init__(route, services, identity, wire)
        self.remote = remote
        self.publish_to: str | None = None
        self.connected_at_ms = 0
        self._end: tuple[int, str, bool] = _GONE
        self._commands: Commands | None = None
        self._retiring: tuple[int, str] | None = None
        rate = route.limits.message_rate
        self._bucket = None if rate is None else Bucket(rate.per_second, self.heard_at)

    @property
    def serial_key(self) -> str:
        """By what `serialize_by` lines the connection up, or empty."""
        return self.identity.serial_key

    @property
    def blocks(self) -> tuple[bytes, bytes]:
        """The params of the connection: what never changes, and what replies have changed."""
        return self.identity.block, self.identity.state_block

    @property
    def commands(self) -> Commands:
        """What the client asks for besides PHP; made when it first does."""
        if self._commands is None:
            self._commands = Commands(self)
        return self._commands

    # Coming in.

    def use(self, wire: Wire) -> None:
        """Speak another wire; only before the client is let in."""
        self.wire = wire

    def attach(self, client: Client) -> "Session":
        """The transport has let the client in: it is told what happened meanwhile."""
        self.client = client
        self._shared = self.wire.shared(client)
        self._enter(OPEN)
        self.heard_at = self.spoke_at = self.services.now()
        self.services.directory.add(self)
        try:
            self.services.keepalive.watch(self)
            self.services.farewell.promise(self)
            self.wire.connected(self)
            if self._early is not None:
                self._tell_now()
        except Exception as exc:  # noqa: BLE001 - the transport must get its listener
            self._broken(exc)
        return self

    async def abandon(self) -> None:
        """The client was not let in after all: nothing of it remains."""
        if self._state is State.JOINING:
            self._enter(State.OVER)
            self._early = None
            await self.services.channels.leave_all(self)

    async def lost(self) -> None:
        """The client went while PHP let it in: PHP hears that it is gone."""
        await self.abandon()
        self._say_farewell()

    # What the transport tells.

    def on_message(self, payload: bytes, *, text: bool) -> None:
        """Take one message; it is answered with a frame, an error frame or a close code."""
        self.heard_at = self.spoke_at = now = self.services.now()
        self.pinged_at = 0.0
        if self._bucket is not None and not self._bucket.take(now):
            self._exceeded(now, self._bucket)
            return
        numbers = self.route.numbers
        (numbers.text if text else numbers.binary).value += 1
        self.wire.receive(self, payload, text=text)

    def on_activity(self) -> None:
        """Note a sign of life."""
        self.heard_at = self.services.now()
        self.pinged_at = 0.0

    def on_closed(self, code: int, reason: str, *, clean: bool) -> None:
        """Leave the channels at once; PHP hears of it when all that was sent is executed."""
        self._end = (code, reason, clean)
        self._enter(ENDED)
        services = self.services
        services.keepalive.forget(self)
        services.directory.remove(self, lingers=self.busy)
        services.metrics.closed(code)
        if self._commands is not None or services.channels.joined(self):
            services.leaving.spawn(services.channels.leave_all(self), name="leaving channels")
        self._commands = None
        self._read_on()
        if not self.busy:
            self.on_idle()

    def on_idle(self) -> None:
        """Everything is concluded: after the client's end comes PHP's `disconnect`."""
        if self._state is ENDED:
            self._enter(State.OVER)
            # First the event, then the leave: who waits for the last session finds its event.
            self._say_farewell()
            self.services.directory.forget(self)
        elif self._retiring is not None:
            self.close(*self._retiring)

    def retire(self, code: int, reason: str) -> None:
        """Close as soon as everything that the client sent is concluded; it is not read on."""
        if not self.present:
            return
        if self._state is State.JOINING or not self.busy:
            self.close(code, reason)
        elif self._retiring is None:
            self._retiring = (code, reason)
            self.hold()

    def publish_frame(self, channel: str, payload: bytes, *, text: bool) -> None:
        """A frame of a raw client that goes to a channel instead of to PHP."""
        content_type = self.route.destination.route.content_type if text else BINARY_TYPE

        async def publish() -> None:
            await may_publish(self, channel, payload)
            message = Message(payload, content_type)
            await self.services.channels.publish(channel, message, source=Source.CLIENT)

        self.commands.do(publish, tag=None, size=len(payload))

    def _exceeded(self, now: float, bucket: Bucket) -> None:
        """Answer a client that is too fast: with an error frame, then with the close."""
        if bucket.warned(now):
            self.close(CloseCode.POLICY_VIOLATION, RATE_LIMITED.message)
        else:
            self.fail(RATE_LIMITED, None, 0)

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

    def _say_farewell(self) -> None:
        if self.wire.lasting:
            self.services.farewell.add(self)

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
        return Invocation(target, blocks, body, self.services.farewell.asker(self.id))
