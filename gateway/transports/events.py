"""The text of an event stream: WHATWG HTML, section 9.2. No I/O."""

import re
from base64 import b64encode
from typing import Final

COMMENT: Final = b":\n\n"
"""A sign of life that no EventSource shows."""

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_UNSAFE: Final = re.compile(r"[\r\n\0]")


def encode_event(payload: bytes, *, text: bool, event: str = "", event_id: str = "") -> bytes:
    """One event. Binary data travels as base64 in an event named `binary`.

    Line ends inside a text all arrive as a line feed: the format knows no others.
    """
    lines = [_id_line(event_id)] if event_id else []
    if not text:
        event, payload = event or "binary", b64encode(payload)
    if event:
        lines.append(b"event: " + _UNSAFE.sub("", event).encode())
    lines += [b"data: " + line for line in _LINE_END.split(payload)]
    return b"\n".join(lines) + b"\n\n"


def encode_position(event_id: str) -> bytes:
    """An id alone: EventSource keeps it and shows nothing."""
    return _id_line(event_id) + b"\n\n"


def _id_line(event_id: str) -> bytes:
    return b"id: " + _UNSAFE.sub("", event_id).encode()
