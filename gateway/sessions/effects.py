"""Carrying out what PHP's reply asks for, in the order in which it asks.

Most effects are done at once. Where one has to wait for a broker, so do those after it, and the
connection's next message; so the order stays. Only joining and leaving need a task for it.
"""

import asyncio
from collections.abc import Callable
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
from gateway.channels.broker import Outcome
from gateway.channels.publication import Message
from gateway.channels.publishing import Source
from gateway.codes import failure_of
from gateway.errors import GatewayError
from gateway.logs import Throttle

from .joining import join
from .peer import Peer

log: Final = structlog.get_logger()

_failures: Final = Throttle()
_PHP: Final = Source.PHP


class Performance:
    """One reply's effects on their way, begun once: with `begin` or with `perform`.

    What cannot be done is logged and answered with an error frame; the rest is still done.
    """

    __slots__ = ("_effects", "_message_id", "_next", "_session", "_tag", "_then")

    def __init__(
        self, session: Peer, effects: tuple[Effect, ...], *, tag: object, message_id: int
    ) -> None:
        self._session = session
        self._effects = effects
        self._tag = tag
        self._message_id = message_id
        self._next = 0
        self._then: Callable[[Exception | None], None] = _nothing

    def begin(self, then: Callable[[Exception | None], None]) -> bool:
        """Do everything; False where that takes a while: then `then` is called at the end.

        It is told of the mistake of ours that ended it early, if there was one. What ends this
        call early is raised.
        """
        self._then = then
        return self._run()

    async def perform(self) -> None:
        """Do everything, and wait for it."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def then(error: Exception | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        if not self.begin(then):
            await done

    def _run(self) -> bool:
        """Do what can be done now; whether that was all."""
        while self._next < len(self._effects):
            effect = self._effects[self._next]
            self._next += 1
            try:
                if not self._do(effect):
                    return False
            except GatewayError as exc:
                self._failed(effect, exc)
        return True

    def _go_on(self, effect: Effect, failure: GatewayError | None) -> None:
        """The effect that was waited for is done, or has failed."""
        error: Exception | None = None
        try:
            if failure is not None:
                self._failed(effect, failure)
            if not self._run():
                return
        except Exception as exc:  # noqa: BLE001 - whoever began it says what becomes of it
            error = exc
        self._then(error)

    def _do(self, effect: Effect) -> bool:
        """Whether it is done; if not, `_go_on` is called when it is."""
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
            case Publish():
                return self._publish(effect)
            case Subscribe() | Unsubscribe():
                session.services.tasks.spawn(self._move(effect), name="joining for a reply")
                return False
        return True

    def _publish(self, effect: Publish) -> bool:
        session = self._session
        exclude = session.id if effect.exclude_self else ""
        message = Message(effect.data, effect.content_type, exclude)

        def done(outcome: Outcome) -> None:
            self._go_on(effect, outcome if isinstance(outcome, GatewayError) else None)

        channels = session.services.channels
        return channels.post(effect.channel, message, source=_PHP, done=done) is not None

    async def _move(self, effect: Subscribe | Unsubscribe) -> None:
        session = self._session
        failure: GatewayError | None = None
        try:
            if isinstance(effect, Subscribe):
                await join(session, effect.channel)
            else:
                await session.services.channels.leave(session, effect.channel)
        except GatewayError as exc:
            failure = exc
        except Exception as exc:  # noqa: BLE001 - whoever began it says what becomes of it
            self._then(exc)
            return
        except BaseException:
            self._then(None)
            raise
        self._go_on(effect, failure)

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


def _nothing(_error: Exception | None) -> None:
    """Nobody waits."""
