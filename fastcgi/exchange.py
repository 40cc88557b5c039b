"""One request to the application, and whoever waits for its answer.

The gateway makes one object a frame: it subclasses `Exchange`, so that the request, its
place in the pool's books and the two callbacks are a single allocation. Nothing here waits;
whoever prefers to await uses `Pool.request`, which wraps an exchange around a future.
"""

from typing import Protocol

from .errors import FastCGIError
from .head import Head
from .response import Response


class Carrier(Protocol):
    """The connection that brings a streamed body, as far as its receiver needs it."""

    @property
    def head(self) -> Head | None:
        """The head of the answer; there before the first part of the body is."""

    def pause(self) -> None:
        """Read nothing more; the application has to wait. The exchange's timeout goes on."""

    def resume(self) -> None:
        """Read on."""


class Exchange:
    """A request and its receiver.

    `params` are encoded name-value blocks (see `params.encode`); each ends on a pair boundary,
    so blocks made at start, at the handshake and for this frame are sent without being copied
    together first. `timeout` counts seconds from the moment the request is written to the last
    byte of its answer. `script` is the SCRIPT_FILENAME, which logs may name. `idempotent` permits
    sending again after an unclear failure.

    After `Pool.submit` exactly one of `on_response` and `on_failure` is called, exactly once,
    from the event loop and never from inside `submit` itself. With `stream` set, the body is
    handed to `on_body` as it arrives and `Response.body` is empty; `carrier` then is what it
    comes by, of use only until one of the two is called. Callbacks must not raise.
    """

    __slots__ = (
        "attempts",
        "body",
        "carrier",
        "expires_at",
        "idempotent",
        "params",
        "queued_at",
        "script",
        "sent_at",
        "stream",
        "timeout",
    )

    def __init__(
        self,
        params: tuple[bytes, ...],
        body: bytes,
        *,
        timeout: float,
        script: str,
        idempotent: bool = False,
        stream: bool = False,
    ) -> None:
        self.params = params
        self.body = body
        self.timeout = timeout
        self.script = script
        self.idempotent = idempotent
        self.stream = stream
        # Set when a streamed request is written; others never look at it.
        self.carrier: Carrier
        self.attempts = 0
        # The clock's seconds, kept by the pool: when it joined the queue, when its last byte of
        # waiting or answering is due, and when it was written (0.0 until then).
        self.queued_at = 0.0
        self.expires_at = 0.0
        self.sent_at = 0.0

    def on_response(self, response: Response) -> None:
        """The whole answer has come."""
        raise NotImplementedError

    def on_failure(self, error: FastCGIError) -> None:
        """There will be no answer; `error` says why and whether the script may have run."""
        raise NotImplementedError

    def on_body(self, chunk: bytes) -> None:
        """A part of the body, in order; called only with `stream`."""
        raise NotImplementedError
