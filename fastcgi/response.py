"""What a script answers, collected from the contents of its records.

`Content-Length` must be true: a body of another length was cut, or a warning stands in front of
it. The body of a 204 or 304 is drained, whatever its length (RFC 9110, 15.3.5 and 15.4.5).
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from .errors import MalformedResponseError, ResponseTooLargeError
from .head import Head, HeadCache, find_head_end

MAX_STDERR: Final = 64 * 1024
"""How much of STDERR is kept; the rest is counted."""

_FIRST_NOT_SUCCESSFUL: Final = 300


class Response(NamedTuple):
    """A complete answer.

    Header names are in lower case, in the order of the script, repeated ones repeated. `stderr`
    holds the beginning of what the script wrote there, `stderr_discarded` counts the bytes left
    out. `app_status` is the script's exit status; php-fpm always says 0.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    stderr: bytes = b""
    app_status: int = 0
    stderr_discarded: int = 0

    def header(self, name: str) -> str | None:
        """The first header of that lower-case name."""
        for known, value in self.headers:
            if known == name:
                return value
        return None


class ResponseBuilder:
    """Collects one response from the contents of its records, within its limits.

    The head at most 64 KiB, the body at most `max_response` bytes, of STDERR the first 64 KiB. With
    `on_body` the body of a 2xx response goes there instead of into the response.
    """

    __slots__ = (
        "_body",
        "_body_size",
        "_head",
        "_head_bytes",
        "_heads",
        "_max_response",
        "_on_body",
        "_stderr",
        "_stderr_size",
    )

    def __init__(
        self, heads: HeadCache, max_response: int, on_body: Callable[[bytes], None] | None
    ) -> None:
        self._heads = heads
        self._max_response = max_response
        self._on_body = on_body
        self._head: Head | None = None
        self._head_bytes = bytearray()
        self._body = bytearray()
        self._body_size = 0
        self._stderr = bytearray()
        self._stderr_size = 0

    @property
    def begun(self) -> bool:
        """Whether the script has written anything, on STDOUT or on STDERR."""
        return bool(self._head or self._head_bytes or self._stderr)

    @property
    def head(self) -> Head | None:
        """The head, once it is complete."""
        return self._head

    @property
    def stderr(self) -> bytes:
        """What is kept of STDERR."""
        return bytes(self._stderr)

    @property
    def bytes_held(self) -> int:
        """Bytes kept in memory."""
        return len(self._head_bytes) + len(self._body) + len(self._stderr)

    def add_stdout(self, content: bytes) -> None:
        """More of head or body; MalformedResponseError or ResponseTooLargeError end it all."""
        if self._head is None:
            searched = len(self._head_bytes)
            self._head_bytes += content
            end = find_head_end(self._head_bytes, searched)
            if end < 0:
                return
            self._head = self._heads.parse(bytes(self._head_bytes[:end]))
            content = bytes(self._head_bytes[end:])
            self._head_bytes = bytearray()
        if content:
            self._add_body(self._head, content)

    def _add_body(self, head: Head, content: bytes) -> None:
        self._body_size += len(content)
        if self._body_size > self._max_response:
            raise ResponseTooLargeError(self._max_response)
        if head.bodiless:
            return
        if self._on_body is not None and head.status < _FIRST_NOT_SUCCESSFUL:
            self._on_body(content)
        else:
            self._body += content

    def add_stderr(self, content: bytes) -> None:
        """More of STDERR; beyond its limit it is only counted."""
        self._stderr_size += len(content)
        self._stderr += content[: MAX_STDERR - len(self._stderr)]

    def finish(self, app_status: int) -> Response:
        """The response; MalformedResponseError if it has no complete head or a false length."""
        head = self._head
        if head is None:
            raise MalformedResponseError(
                "the head has no end" if self._head_bytes else "the script wrote no response"
            )
        if head.content_length not in (-1, self._body_size) and not head.bodiless:
            raise MalformedResponseError(
                "Content-Length is not the length of the body", self._body_size
            )
        return Response(
            head.status,
            head.headers,
            bytes(self._body),
            bytes(self._stderr),
            app_status,
            self._stderr_size - len(self._stderr),
        )
