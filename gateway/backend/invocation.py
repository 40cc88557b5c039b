"""One event on its way to PHP.

The object is the FastCGI exchange itself, so an event costs one allocation; its receiver is the
session (or whoever else asks PHP something) and hears exactly one answer.
"""

from typing import Final, Protocol

import structlog

from fastcgi import Exchange, FastCGIError, Response

from .target import Target

log: Final = structlog.get_logger()

_UNCOUNTED: Final = "an answer was not counted"


class Asker(Protocol):
    """Whoever asked PHP; called from the event loop, exactly once for each invocation."""

    @property
    def id(self) -> str:
        """The connection that the question is about, for the log."""

    def on_answer(self, invocation: "Invocation", response: Response) -> None:
        """PHP has answered, with whatever status."""

    def on_no_answer(self, invocation: "Invocation", error: FastCGIError) -> None:
        """PHP has not answered and will not."""


class Invocation(Exchange):
    """One event, its target and who asked.

    `tag` is the asker's own: what it needs to know again when the answer comes. `ticket` holds
    the place in the line of `serialize_by`, where the target's route has one.
    """

    __slots__ = ("answer", "asker", "message_id", "tag", "target", "ticket")

    def __init__(
        self,
        target: Target,
        blocks: tuple[bytes, ...],
        body: bytes,
        asker: Asker,
        *,
        message_id: int = 0,
        tag: object = None,
    ) -> None:
        # What Exchange.__init__ does, spelled out: an event is made for every frame.
        self.params = (target.block, *blocks)
        self.body = body
        self.timeout = target.timeout
        self.script = target.script
        self.idempotent = target.idempotent
        self.stream = False
        self.attempts = 0
        self.queued_at = self.expires_at = self.sent_at = 0.0
        self.target = target
        self.asker = asker
        self.message_id = message_id
        self.tag = tag
        self.ticket: object = None
        # Where replies are kept in order, the answer waits here for the ones before it.
        self.answer: Response | FastCGIError | None = None

    def on_response(self, response: Response) -> None:
        """Count, log what PHP wrote to STDERR, and hand the response on."""
        try:
            self.target.answered(self, response)
        except Exception:
            # Whoever waits must not pay for what was to be counted and logged.
            log.exception(_UNCOUNTED, route=self.target.route)
        self.asker.on_answer(self, response)

    def on_failure(self, error: FastCGIError) -> None:
        """Count, log, and hand the failure on."""
        try:
            self.target.failed(self, error)
        except Exception:
            log.exception(_UNCOUNTED, route=self.target.route)
        self.asker.on_no_answer(self, error)
