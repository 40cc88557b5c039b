"""The messages of one connection on their way to PHP: so many at a time, answered in order.

What comes faster than PHP answers waits here, bounded: past the bound the client is not read
any more until it has been answered, and TCP makes it wait. A message is concluded when its
answer's effects are done; only then comes the next one's turn.
"""

from collections import deque
from typing import Final

import structlog

from fastcgi import FastCGIError, Response
from gateway.backend.environ import message_block
from gateway.backend.invocation import Invocation
from gateway.backend.reply import Head, effects_of, head_of
from gateway.codes import Failure, failure_of, failure_of_status
from gateway.errors import GatewayError
from gateway.logs import Throttle

from .client import Client
from .effects import Performance
from .identity import Identity
from .peer import Peer
from .route import Route
from .services import Services
from .wire import Wire

log: Final = structlog.get_logger()

INBOX_MESSAGES: Final = 64
INBOX_BYTES: Final = 256 * 1024
_NO_CONTENT: Final = 204
_broken_replies: Final = Throttle()


class Turns(Peer):
    """The part of a session that talks to PHP. Fulfils `backend.invocation.Asker`."""

    __slots__ = (
        "_concluding",
        "_inbox",
        "_inbox_bytes",
        "_order",
        "_paused",
        "_running",
        "client",
        "identity",
        "message_id",
        "route",
        "services",
        "wire",
    )

    client: Client

    def __init__(self, route: Route, services: Services, identity: Identity, wire: Wire) -> None:
        self.route = route
        self.services = services
        self.identity = identity
        self.wire = wire
        self.message_id = 0
        self._running = 0
        self._concluding = False
        # Only where several may be in flight can answers overtake each other.
        self._order: deque[Invocation] | None = deque() if route.concurrency > 1 else None
        self._inbox: deque[tuple[bytes, bool, object]] | None = None
        self._inbox_bytes = 0
        self._paused = False

    @property
    def id(self) -> str:
        """The connection's id: in `$_SERVER`, in the API, in presence."""
        return self.identity.id

    @property
    def busy(self) -> bool:
        """Whether something that the client sent is not concluded."""
        return self._running > 0 or bool(self._inbox)

    def ask(self, payload: bytes, *, text: bool, tag: object) -> None:
        """Hand a message to PHP now, or when those before it are concluded."""
        if self._running < self.route.concurrency and not self._inbox:
            self._start(payload, text=text, tag=tag)
            return
        if self._inbox is None:
            self._inbox = deque()
        self._inbox.append((payload, text, tag))
        self._inbox_bytes += len(payload)
        full = len(self._inbox) >= INBOX_MESSAGES or self._inbox_bytes >= INBOX_BYTES
        if full and not self._paused:
            self._paused = True
            self.client.pause_reading()

    def _start(self, payload: bytes, *, text: bool, tag: object) -> None:
        self.message_id += 1
        target = self.route.select(payload, text=text)
        if target is None:
            # The route's events leave messages out: they are nobody's affair.
            return
        if isinstance(target, Failure):
            self.fail(target, tag, self.message_id)
            return
        identity = self.identity
        template = target.text_template if text else target.binary_template
        block = message_block(template, self.message_id, len(payload))
        invocation = Invocation(
            target,
            (identity.block, identity.state_block, block),
            payload,
            self,
            message_id=self.message_id,
            tag=tag,
        )
        self._running += 1
        if self._order is not None:
            self._order.append(invocation)
        target.submit(invocation, identity.serial_key)

    def on_answer(self, invocation: Invocation, response: Response) -> None:
        """Conclude the message, or keep the answer until those before it are concluded."""
        if self._order is None:
            self._conclude(invocation, response)
        else:
            invocation.answer = response
            self._conclude_in_order(self._order)

    def on_no_answer(self, invocation: Invocation, error: FastCGIError) -> None:
        """Conclude the message with an error, in its place."""
        if self._order is None:
            self._conclude(invocation, error)
        else:
            invocation.answer = error
            self._conclude_in_order(self._order)

    def _conclude_in_order(self, order: deque[Invocation]) -> None:
        while order and not self._concluding and (answer := order[0].answer) is not None:
            self._conclude(order.popleft(), answer)

    def _conclude(self, invocation: Invocation, answer: Response | FastCGIError) -> None:
        """Do what the answer asks for; then the next message's turn comes."""
        try:
            if isinstance(answer, FastCGIError):
                self.route.failed(self, failure_of(answer), invocation, str(answer))
            elif self._obey(invocation, head_of(answer), answer.body):
                return
        except GatewayError as exc:
            self._broken_reply(invocation, exc)
        self._turn()

    def _obey(self, invocation: Invocation, head: Head, body: bytes) -> bool:
        """Do what a reply asks for; True when a task does the rest and then takes the turn."""
        if head.cookies:
            self.identity.remember_cookies(head.cookies, self.services.clock.wall())
        if not head.ok:
            self.route.refused(self, failure_of_status(head.status), invocation)
        elif head.plain:
            if body and head.status != _NO_CONTENT:
                self.route.numbers.replies.value += 1
                self.wire.reply(self, body, head.content_type, text=head.text, tag=invocation.tag)
        else:
            performance = Performance(
                self, effects_of(head, body), tag=invocation.tag, message_id=invocation.message_id
            )
            if not performance.run():
                self._concluding = True
                self.services.tasks.spawn(self._wait_for(performance), name="effects of a reply")
                return True
        return False

    async def _wait_for(self, performance: Performance) -> None:
        try:
            await performance.finish()
        finally:
            self._concluding = False
            self._turn()

    def _turn(self) -> None:
        """One message is concluded: the next one's turn, or the end."""
        self._running -= 1
        inbox = self._inbox
        while inbox and self._running < self.route.concurrency:
            payload, text, tag = inbox.popleft()
            self._inbox_bytes -= len(payload)
            self._start(payload, text=text, tag=tag)
        if self._paused and not inbox:
            self._paused = False
            self.resume()
        if self._order:
            self._conclude_in_order(self._order)
        if not self.busy:
            self.on_idle()

    def _broken_reply(self, invocation: Invocation, error: GatewayError) -> None:
        if _broken_replies.allows():
            log.warning(
                "reply cannot be carried out",
                route=self.route.name,
                connection=self.id,
                error=str(error),
                **_broken_replies.taken(),
            )
        self.route.failed(self, failure_of(error), invocation, str(error))
