"""The messages of one connection on their way to PHP: so many at a time, answered in order.

What comes faster than PHP answers waits here, bounded: past the bound the client is not read
any more until it has been answered, and TCP makes it wait. A message is concluded when its
answer's effects are done; only then comes the next one's turn.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

import structlog

from fastcgi import FastCGIError, Response
from gateway.backend.environ import message_block
from gateway.backend.invocation import Invocation
from gateway.backend.queries import Inquiry, QueryTarget
from gateway.backend.reply import Head, effects_of, head_of
from gateway.backend.streaming import StreamedInvocation
from gateway.backend.target import Target
from gateway.codes import NOT_FOUND, Failure, failure_of, failure_of_status
from gateway.errors import GatewayError

from .effects import Performance
from .identity import Identity
from .route import Route
from .services import Services
from .streams import Streams
from .wire import Wire

log: Final = structlog.get_logger()

INBOX_MESSAGES: Final = 64
INBOX_BYTES: Final = 256 * 1024
_NO_CONTENT: Final = 204


@dataclass(slots=True)
class _Refused:
    """A message that PHP is not asked about; its error frame waits for its place."""

    answer: Failure
    tag: object
    message_id: int


Question = Invocation | Inquiry | _Refused
Answer = Response | FastCGIError | GatewayError


class Turns(Streams):
    """The part of a session that talks to PHP.

    Fulfils `backend.streaming.LineAsker` and `backend.queries.QueryAsker`.
    """

    __slots__ = (
        "_concluding",
        "_inbox",
        "_inbox_bytes",
        "_order",
        "_paused",
        "_running",
    )

    def __init__(self, route: Route, services: Services, identity: Identity, wire: Wire) -> None:
        super().__init__(route, services, identity, wire)
        self._running = 0
        self._concluding = False
        # Only where several may be in flight can answers overtake each other.
        self._order: deque[Question] | None = deque() if route.concurrency > 1 else None
        self._inbox: deque[tuple[bytes, bool, object]] | None = None
        self._inbox_bytes = 0
        self._paused = False

    @property
    def busy(self) -> bool:
        """Whether something that the client sent is not concluded."""
        return self._running > 0 or bool(self._inbox)

    def ask(self, payload: bytes, *, text: bool, tag: object) -> None:
        """Hand a message to PHP now, or when those before it are concluded."""
        if not self._inbox and (not self._running or self._running < self._limit):
            self._start(payload, text=text, tag=tag)
            return
        if self._inbox is None:
            self._inbox = deque()
        self._inbox.append((payload, text, tag))
        self._inbox_bytes += len(payload)
        full = len(self._inbox) >= INBOX_MESSAGES or self._inbox_bytes >= INBOX_BYTES
        if full and not self._paused:
            self._paused = True
            self.hold()

    def rebind(self, route: Route) -> None:
        """Go on by another version of the route; what is with PHP ends by the old one."""
        self.route = route
        self._changed()
        self._keep_order()
        if self.open:
            # The version before may not have counted the silence; so it begins now.
            self.spoke_at = self.services.now()
            self.services.keepalive.watch(self)

    @property
    def _limit(self) -> int:
        return 1 if self._order is None else self.route.concurrency

    def _keep_order(self) -> None:
        """A message that is with PHP already has no place in an order that begins now."""
        if self._order is None and self.route.concurrency > 1 and not self._running:
            self._order = deque()

    def _start(self, payload: bytes, *, text: bool, tag: object) -> None:
        self.message_id += 1
        route = self.route
        target = route.only if route.rules is None else route.select(payload, text=text)
        if not isinstance(target, Target):
            self._start_without_php(target, payload, text=text, tag=tag)
            return
        identity = self.identity
        template = target.text_template if text else target.binary_template
        block = message_block(template, self.message_id, len(payload))
        kind = StreamedInvocation if target.stream else Invocation
        invocation = kind(
            target,
            (identity.block, identity.state_block, block),
            payload,
            self,
            message_id=self.message_id,
            tag=tag,
        )
        self._take_its_place(invocation)
        if target.cache is None or not target.cache.take(invocation, identity, text=text):
            target.submit(invocation, identity.serial_key)

    def _start_without_php(
        self, target: QueryTarget | Failure | None, payload: bytes, *, text: bool, tag: object
    ) -> None:
        if isinstance(target, QueryTarget):
            inquiry = Inquiry(target, payload, self, message_id=self.message_id, tag=tag)
            self._take_its_place(inquiry)
            if target.cache is None or not target.cache.take(inquiry, self.identity, text=text):
                target.submit(inquiry)
        elif target is not None:
            self._refuse(target, tag)
        elif tag is not None:
            # The route's events leave messages out. Who waits for an answer is told so.
            self._refuse(NOT_FOUND, tag)

    def _take_its_place(self, message: Question) -> None:
        self._running += 1
        if self._order is not None:
            self._order.append(message)

    def _refuse(self, failure: Failure, tag: object) -> None:
        if self._order is None or not self._running:
            self.fail(failure, tag, self.message_id)
        else:
            self._running += 1
            self._order.append(_Refused(failure, tag, self.message_id))

    def on_answer(self, invocation: Invocation | Inquiry, response: Response) -> None:
        """Conclude the message, or keep the answer until those before it are concluded."""
        self._on_any_answer(invocation, response)

    def on_no_answer(
        self, invocation: Invocation | Inquiry, error: FastCGIError | GatewayError
    ) -> None:
        """Conclude the message with an error, in its place."""
        self._on_any_answer(invocation, error)

    def _on_any_answer(self, invocation: Invocation | Inquiry, answer: Answer) -> None:
        try:
            if self._order is not None:
                self._answered_in_order(self._order, invocation, answer)
            elif self._conclude(invocation, answer):
                self._turn()
        except Exception as exc:  # noqa: BLE001 - as in `_conclude`
            self._broken(exc)

    def _answered_in_order(
        self, order: deque[Question], invocation: Invocation | Inquiry, answer: Answer
    ) -> None:
        invocation.answer = answer
        self._conclude_in_order(order)
        self._go_on()

    def _conclude_in_order(self, order: deque[Question]) -> None:
        while order and not self._concluding and (answer := order[0].answer) is not None:
            if self._conclude(order.popleft(), answer):
                self._running -= 1
        if order and not self._concluding and isinstance(order[0], StreamedInvocation):
            order[0].proceed()

    def _has_its_turn(self, invocation: StreamedInvocation) -> bool:
        order = self._order
        return order is None or (order[0] is invocation and not self._concluding)

    def _conclude(self, message: Question, answer: Answer | Failure) -> bool:
        """Do what the answer asks for; False when that takes a while and then takes the turn."""
        try:
            if isinstance(answer, Response):
                return self._obey(message, head_of(answer), answer.body)
            if isinstance(answer, Failure):
                self.fail(answer, message.tag, message.message_id)
            else:
                self.route.failed(self, failure_of(answer), message, str(answer))
        except GatewayError as exc:
            self._broken_reply(message, exc)
        except Exception as exc:  # noqa: BLE001 - a mistake of ours costs this connection alone
            self._broken(exc)
        return True

    def _obey(self, message: Question, head: Head, body: bytes) -> bool:
        """Do what a reply asks for; False when that takes a while, and `_performed` is called."""
        if head.cookies:
            self.identity.remember_cookies(head.cookies, self.services.clock.wall())
        if head.plain:
            if body and head.status != _NO_CONTENT:
                self.route.numbers.replies.value += 1
                self.wire.reply(self, body, head.content_type, text=head.text, tag=message.tag)
            return True
        if not head.ok:
            # A close that PHP asks for says more than the one that `on_error` would make of it.
            if not (head.after and self.route.on_error == "close"):
                self.route.refused(self, failure_of_status(head.status), message)
            effects = (*head.before, *head.after)
        else:
            effects = effects_of(head, body)
        if not effects:
            return True
        performance = Performance(self, effects, tag=message.tag, message_id=message.message_id)
        if performance.begin(self._performed):
            return True
        self._concluding = True
        return False

    def _performed(self, error: Exception | None) -> None:
        """The effects of a reply that had to wait are done."""
        if error is not None:
            self._broken(error)
        self._concluding = False
        self._turn()

    def _turn(self) -> None:
        """One message is concluded: the next one's turn, or the end."""
        self._running -= 1
        if self._order:
            self._conclude_in_order(self._order)
        if self._inbox or self._paused:
            self._go_on()
        elif not self._running:
            self.on_idle()

    def _go_on(self) -> None:
        inbox = self._inbox
        if inbox:
            self._keep_order()
            while inbox and self._running < self._limit:
                payload, text, tag = inbox.popleft()
                self._inbox_bytes -= len(payload)
                self._start(payload, text=text, tag=tag)
        if inbox:
            return
        if self._paused:
            self._paused = False
            self.release()
        if not self._running:
            self.on_idle()
