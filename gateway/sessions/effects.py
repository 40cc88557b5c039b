"""Carrying out what PHP's reply asks for, in the order in which it asks.

Most effects are done at once. Those that may have to wait for a broker make the rest of the
reply a task; the connection's next message waits for it, so the order stays.
"""

from typing import Final

import structlog

from gateway.backend.effects import (
    Close,
    Effect,
    Publish,
    Send,
    SetMeta,
    SetUser,
    Subscribe,
    Unsubscribe,
)
from gateway.backend.reply import is_text
from gateway.channels.publication import Message
from gateway.channels.service import Source
from gateway.codes import failure_of
from gateway.errors import GatewayError
from gateway.logs import Throttle

from .joining import join
from .peer import Peer

log: Final = structlog.get_logger()

_failures: Final = Throttle()


class Performance:
    """One reply's effects on their way; `run` first, then `finish` where it says so.

    What cannot be done is logged and answered with an error frame; the rest is still done.
    """

    __slots__ = ("_effects", "_message_id", "_next", "_session", "_tag")

    def __init__(
        self, session: Peer, effects: tuple[Effect, ...], *, tag: object, message_id: int
    ) -> None:
        self._session = session
        self._effects = effects
        self._tag = tag
        self._message_id = message_id
        self._next = 0

    def run(self) -> bool:
        """Do what can be done at once; whether that was all."""
        while self._next < len(self._effects):
            effect = self._effects[self._next]
            if isinstance(effect, Publish | Subscribe | Unsubscribe):
                return False
            self._next += 1
            try:
                self._do(effect)
            except GatewayError as exc:
                self._failed(effect, exc)
        return True

    async def finish(self) -> None:
        """Do the rest, waiting where it must."""
        while not self.run():
            effect = self._effects[self._next]
            self._next += 1
            try:
                await self._wait_for(effect)
            except GatewayError as exc:
                self._failed(effect, exc)

    def _do(self, effect: Effect) -> None:
        session = self._session
        match effect:
            case Send(data, content_type):
                session.route.numbers.replies.value += 1
                text = is_text(content_type)
                session.wire.reply(session, data, content_type, text=text, tag=self._tag)
            case SetMeta(name, value):
                session.identity.set_meta(name, value)
            case SetUser(user):
                session.identity.set_user(user)
            case Close(code, reason):
                session.close(code, reason)

    async def _wait_for(self, effect: Effect) -> None:
        session = self._session
        channels = session.services.channels
        match effect:
            case Publish(channel, data, content_type, exclude_self):
                exclude = session.id if exclude_self else ""
                message = Message(data, content_type, exclude=exclude)
                await channels.publish(channel, message, source=Source.PHP)
            case Subscribe(channel):
                await join(session, channel)
            case Unsubscribe(channel):
                await channels.leave(session, channel)

    def _failed(self, effect: Effect, error: GatewayError) -> None:
        session = self._session
        if not session.present:
            # What is asked for a client that has left meanwhile is nobody's mistake.
            return
        if _failures.allows():
            log.warning(
                "effect failed",
                effect=type(effect).__name__,
                route=session.route.name,
                connection=session.id,
                error=str(error),
                **_failures.taken(),
            )
        session.fail(failure_of(error), self._tag, self._message_id, str(error))
