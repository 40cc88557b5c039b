"""A reply that is handed on line by line, while PHP is still writing it.

A success that is plain is streamed: every line that PHP flushes is a frame at once. One with
effects in its body, or whose body goes to a channel, is collected and means what it always does;
effects of the head that stand around the body are done at its end.

Lines wait here while it is not their turn or the client does not read; then PHP is not read
either, and has to wait itself.
"""

from collections import deque
from typing import Final, Protocol

from fastcgi import FastCGIError, Response
from gateway.errors import GatewayError

from . import effects
from .invocation import Asker, Invocation
from .reply import Head, head_of, media_type
from .target import Target

_NEWLINE: Final = b"\n"


class LineAsker(Asker, Protocol):
    """Whoever asked PHP and can take the answer in lines."""

    def on_lines(self, invocation: "StreamedInvocation") -> None:
        """There are lines: take them now, or call `pause` and later `proceed`."""


class StreamedInvocation(Invocation):
    """One message whose answer comes in lines; its asker hears the end when the lines are taken.

    `lines` are those that have come and are not taken; `head` says what they are.
    """

    __slots__ = ("_begun", "_collected", "_end", "_live", "_rest", "_stream_asker", "head", "lines")

    def __init__(
        self,
        target: Target,
        blocks: tuple[bytes, ...],
        body: bytes,
        asker: LineAsker,
        *,
        message_id: int = 0,
        tag: object = None,
    ) -> None:
        super().__init__(target, blocks, body, asker, message_id=message_id, tag=tag)
        self.stream = True
        self.lines: deque[bytes] = deque()
        self.head: Head | None = None
        self._stream_asker = asker
        self._rest = bytearray()
        self._collected: bytearray | None = None
        self._end: Response | FastCGIError | None = None
        self._live = self._begun = False

    def pause(self) -> None:
        """Let PHP wait."""
        if self._live:
            self.carrier.pause()

    def proceed(self) -> None:
        """Hand on what waits, and read on."""
        if self.lines:
            self._stream_asker.on_lines(self)
        if not self.lines:
            if self._live:
                self.carrier.resume()
            elif self._end is not None:
                self._finish(self._end)

    def on_body(self, chunk: bytes) -> None:
        """Take a part of the answer."""
        self._live = True
        if not self._begun:
            self._begun = True
            self._begin()
        if self._collected is not None:
            self._collected += chunk
            return
        rest = self._rest
        searched = len(rest)
        rest += chunk
        if rest.find(_NEWLINE, searched) < 0:
            return
        *lines, last = bytes(rest).split(_NEWLINE)
        self._rest = bytearray(last)
        self._add(lines)

    def on_response(self, response: Response) -> None:
        """Note the end; the asker hears of it when all lines are taken."""
        self._live = False
        if self._collected is not None:
            response = response._replace(body=bytes(self._collected))
        elif self._rest:
            self._add([bytes(self._rest)])
        self.target.answered(self, response)
        self._end = response
        if not self.lines:
            self._finish(response)

    def on_failure(self, error: FastCGIError) -> None:
        """Note the failure; what came before it is handed on first."""
        self._live = False
        self.target.failed(self, error)
        self._end = error
        if not self.lines:
            self._finish(error)

    def _begin(self) -> None:
        found = self.carrier.head
        try:
            head = None if found is None else head_of(Response(found.status, found.headers, b""))
        except GatewayError:
            # It cannot be carried out, which is said when all of it is there.
            head = None
        if head is None or head.publish or media_type(head.content_type) == effects.EFFECTS_TYPE:
            self._collected = bytearray()
        else:
            self.head = head

    def _add(self, lines: list[bytes]) -> None:
        waiting = bool(self.lines)
        # An empty line is an empty body: no frame.
        self.lines += [kept for line in lines if (kept := line.removesuffix(b"\r"))]
        if self.lines and not waiting:
            self._stream_asker.on_lines(self)

    def _finish(self, end: Response | FastCGIError) -> None:
        self._end = None
        if isinstance(end, Response):
            self.asker.on_answer(self, end)
        else:
            self.asker.on_no_answer(self, end)
