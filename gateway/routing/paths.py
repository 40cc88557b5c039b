"""Paths of handshakes against path templates.

A path is decoded once, a segment at a time, and what a well-meaning client never sends is
refused there: the rest of the gateway never sees a NUL, a control character, a `..` or bytes
that are not UTF-8 in a path variable.
"""

import re
import unicodedata
from typing import Final
from urllib.parse import parse_qsl, unquote_to_bytes

from gateway.config.templates import parse_path

_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_MAX_QUERY_FIELDS: Final = 256


def decode_path(path: str) -> tuple[str, ...] | None:
    """The decoded segments of a path as it came on the wire, None when it must be refused.

    Refused are escapes that are none, bytes that are not UTF-8, control characters, segments
    `.` and `..`, and a slash or a backslash that was hidden behind an escape.
    """
    if not path.startswith("/"):
        return None
    segments = []
    for part in path[1:].split("/"):
        segment = _decode(part)
        if segment is None:
            return None
        segments.append(segment)
    return tuple(segments)


def _decode(part: str) -> str | None:
    if part.isalnum() and part.isascii():
        return part
    if _BAD_ESCAPE.search(part):
        return None
    try:
        segment = unquote_to_bytes(part).decode()
    except UnicodeError:
        return None
    if segment in {".", ".."} or "/" in segment or "\\" in segment:
        return None
    if any(unicodedata.category(character) == "Cc" for character in segment):
        return None
    return segment


class PathTemplate:
    """`/ws/{room}`, `/files/{name:.*}`: matches the segments that `decode_path` gives.

    `{name}` takes one segment that is not empty; `{name:.*}` takes all that are left, joined by
    slashes, and may be empty as long as the slash in front of it is there.
    """

    __slots__ = ("_fixed", "_rest", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        segments = parse_path(text)
        self._rest = segments[-1].text if segments[-1].kind == "rest" else None
        fixed = segments[:-1] if self._rest is not None else segments
        self._fixed = tuple((part.kind == "variable", part.text) for part in fixed)

    def match(self, segments: tuple[str, ...]) -> dict[str, str] | None:
        """The variables of a path, None when it is another path."""
        fixed = self._fixed
        count = len(fixed)
        if len(segments) != count if self._rest is None else len(segments) <= count:
            return None
        variables: dict[str, str] = {}
        for (is_variable, text), segment in zip(fixed, segments, strict=False):
            if not is_variable:
                if text != segment:
                    return None
            elif segment:
                variables[text] = segment
            else:
                return None
        if self._rest is not None:
            variables[self._rest] = "/".join(segments[count:])
        return variables


def query_variables(query: str) -> dict[str, str]:
    """The fields of a query string, of several with one name the first.

    A query that is not UTF-8 or has more than 256 fields has none.
    """
    try:
        fields = parse_qsl(
            query, keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS, errors="strict"
        )
    except ValueError:
        return {}
    return dict(reversed(fields))
