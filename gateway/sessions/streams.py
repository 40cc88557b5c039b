"""Replies that come in lines, on their way to one client.

While the client does not read, PHP is not read either: its lines wait where they are made.
"""

from typing import Final

import structlog

from gateway.backend.streaming import StreamedInvocation
from gateway.codes import failure_of
from gateway.errors import GatewayError
from gateway.logs import Throttle

from .hearing import Hearing
from .identity import Identity
from .route import Question, Route
from .services import Services
from .wire import Wire

log: Final = structlog.get_logger()

_broken_replies: Final = Throttle()


class Streams(Hearing):
    """The part of a session that takes lines."""

    __slots__ = ("_stream",)

    def __init__(self, route: Route, services: Services, identity: Identity, wire: Wire) -> None:
        super().__init__(route, services, identity, wire)
        # The one whose lines wait until the client reads again.
        self._stream: StreamedInvocation | None = None

    def on_lines(self, invocation: StreamedInvocation) -> None:
        """Send the lines, if it is their turn and as long as the client reads."""
        if not self._has_its_turn(invocation):
            invocation.pause()
            return
        lines = invocation.lines
        while lines:
            if self.congested_since and self.open:
                self._stream = invocation
                invocation.pause()
                return
            self._send_line(invocation, lines.popleft())

    def on_congested(self, *, congested: bool) -> None:
        """Note that the client does not read, or reads again; then lines go on."""
        super().on_congested(congested=congested)
        if not congested:
            self._read_on()

    def _read_on(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.proceed()

    def _send_line(self, invocation: StreamedInvocation, line: bytes) -> None:
        head = invocation.head
        if head is None:
            return
        self.route.numbers.replies.value += 1
        try:
            self.wire.reply(self, line, head.content_type, text=head.text, tag=invocation.tag)
        except GatewayError as exc:
            # The lines after a broken one are not sent: they may depend on it.
            invocation.head = None
            self._broken_reply(invocation, exc)

    def _has_its_turn(self, _invocation: StreamedInvocation) -> bool:
        """Whether everything that was sent before it is concluded."""
        return True

    def _broken_reply(self, message: Question, error: GatewayError) -> None:
        if _broken_replies.allows():
            log.warning(
                "reply cannot be carried out",
                route=self.route.name,
                connection=self.id,
                error=str(error),
                **_broken_replies.taken(),
            )
        self.route.failed(self, failure_of(error), message, str(error))
