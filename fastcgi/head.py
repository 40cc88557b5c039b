"""The CGI head of a response (RFC 3875, 6), judged strictly.

PHP writes the head well, so anything else is a script's raw output in the wrong place. Decisions
where the specifications leave room:

- An empty head is status 200 without headers: php-fpm sends it for a script that removes all its
  headers. A response without any blank line is malformed.
- `HTTP/1.1 404 Not Found` as the first line is a status: php-fpm writes it with
  `cgi.rfc2616_headers=1` (php-src, sapi/fpm/fpm/fpm_main.c). Anywhere else it is malformed.
- A status is a final one, 200 to 599; `Location` without one means 302 (RFC 3875, 6.2.3). Two are
  malformed, even if they agree.
- A line ends with CRLF or LF. A continuation line, a space before the colon, and a control
  character other than a tab are malformed (RFC 9112, 5; RFC 9110, 5.5).
- Values are read as UTF-8, or as Latin-1 when they are not UTF-8.
- `Content-Length` is taken out of the headers for whoever knows the body, and headers that
  concern one connection only are dropped (RFC 9110, 7.6.1).
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from .errors import MalformedResponseError

MAX_HEAD: Final = 64 * 1024
"""Bytes of a head, its blank line included."""

MAX_HEADERS: Final = 1024

_MAX_CACHED_HEAD: Final = 1024
_MAX_CACHED_HEADS: Final = 256

_BODILESS: Final = frozenset((204, 304))

# Those of RFC 9110, 7.6.1, with the two old ones that it names.
_HOP_BY_HOP: Final = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_STATUS: Final = re.compile(rb"([2-5][0-9]{2})(?:[ \t].*)?")
_STATUS_LINE: Final = re.compile(rb"HTTP/[0-9](?:\.[0-9])?[ \t]+(.+)")
_DIGITS: Final = re.compile(rb"[0-9]{1,18}")
_BLANK_LINE: Final = re.compile(rb"(?:\A|\n)\r?\n")
# How far a blank line can begin before the bytes that complete it.
_BLANK_LINE_OVERLAP: Final = 2


class Head(NamedTuple):
    """A parsed CGI head.

    `content_length` is -1 when the script did not say. `bodiless` tells that the status forbids a
    body, so that one is drained and not handed on.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    content_length: int = -1
    bodiless: bool = False


def find_head_end(data: bytes | bytearray, searched: int = 0) -> int:
    """Where the body begins, -1 while the blank line has not come.

    `searched` is the length of the data when it was last looked at in vain.
    """
    found = _BLANK_LINE.search(data, max(0, searched - _BLANK_LINE_OVERLAP), MAX_HEAD)
    if found:
        return found.end()
    if len(data) >= MAX_HEAD:
        raise MalformedResponseError("the head is too large, limit", MAX_HEAD)
    return -1


def parse_head(data: bytes) -> Head:
    """The head in `data`, which ends with its blank line; MalformedResponseError names the line."""
    status = content_length = -1
    headers: list[tuple[str, str]] = []
    for line, name, value in _parse_lines(data):
        if name == "status":
            if status >= 0:
                raise MalformedResponseError("a second status, line", line)
            if not (found := _STATUS.fullmatch(value)):
                raise MalformedResponseError("not a final status, line", line)
            status = int(found[1])
        elif name == "content-length":
            if content_length >= 0 or not _DIGITS.fullmatch(value):
                raise MalformedResponseError("a false Content-Length, line", line)
            content_length = int(value)
        elif name not in _HOP_BY_HOP:
            headers.append((name, _decode(value)))
    if status < 0:
        status = 302 if any(name == "location" for name, _ in headers) else 200
    return Head(status, tuple(headers), content_length, status in _BODILESS)


def _parse_lines(data: bytes) -> Iterator[tuple[int, str, bytes]]:
    """The number, the name and the value of each line; a status line has the name "status"."""
    lines = data.split(b"\n")
    # The last line end stands behind the blank line, so the last two pieces are no headers.
    del lines[-2:]
    if len(lines) > MAX_HEADERS:
        raise MalformedResponseError("too many headers, limit", MAX_HEADERS)
    for number, ended_line in enumerate(lines, 1):
        line = ended_line.removesuffix(b"\r")
        if _CONTROL.search(line):
            raise MalformedResponseError("a control character in the head, line", number)
        name, colon, value = line.partition(b":")
        if colon and _TOKEN.fullmatch(name):
            yield number, name.decode("ascii").lower(), value.strip(b" \t")
        elif number == 1 and (found := _STATUS_LINE.fullmatch(line)):
            yield number, "status", found[1]
        else:
            raise MalformedResponseError("not a header, line", number)


def _decode(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


class HeadCache:
    """Parsed heads by their bytes, because PHP sends the same one with almost every response.

    Bounded: at most 256 heads of at most 1 KiB. Heads with Set-Cookie are never kept, they are
    secrets and different each time.
    """

    __slots__ = ("_heads", "find")

    def __init__(self) -> None:
        self._heads: dict[bytes, Head] = {}
        #: The head of these bytes, which end before the last line end; None when not kept.
        self.find = self._heads.get

    def parse(self, data: bytes) -> Head:
        """The head in `data`, which ends with its blank line, from now on kept if it may be."""
        key = data[:-2] if data.endswith(b"\r\n") else data[:-1]
        key = key.removesuffix(b"\n").removesuffix(b"\r")
        head = self._heads.get(key)
        if head is None:
            head = parse_head(data)
            # An empty key would be found in front of a body that begins with a blank line.
            if 0 < len(key) <= _MAX_CACHED_HEAD and not any(
                name == "set-cookie" for name, _ in head.headers
            ):
                if len(self._heads) >= _MAX_CACHED_HEADS:
                    # Cheaper than keeping an order, and it refills within as many frames.
                    self._heads.clear()
                self._heads[key] = head
        return head

    def __len__(self) -> int:
        return len(self._heads)
