"""What is published, and where it stands in its channel.

The values here are made for every publication, some more than once, and travel between
processes: as msgspec's structs they are made in a quarter of a frozen dataclass's time.
"""

from enum import StrEnum
from functools import lru_cache
from typing import Final

import msgspec

from gateway.errors import NotTextError


class Kind(StrEnum):
    """How a publication's bytes are handed on: as text, as a JSON value, or as binary."""

    TEXT = "text"
    JSON = "json"
    BINARY = "binary"


JSON_TYPE: Final = "application/json"
TEXT_TYPE: Final = "text/plain; charset=utf-8"
BINARY_TYPE: Final = "application/octet-stream"

_BINARY_FAMILIES: Final = ("image/", "audio/", "video/", "font/")


class Position(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How far a stream has come, and in which life of it.

    Offsets of a life start at 1 and grow by one; offset 0 is the position before the first.
    """

    offset: int
    epoch: str


NOWHERE: Final = Position(0, "")
"""The position of every publication in a channel that keeps no history."""


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a publisher hands in: bytes with their Content-Type.

    `exclude` is the id of a connection that must not receive it, or empty. `key` is the
    publisher's idempotency key, or empty.
    """

    data: bytes
    content_type: str = TEXT_TYPE
    exclude: str = ""
    key: str = ""


class Publication(msgspec.Struct, frozen=True, eq=False):
    """A message that a broker has accepted.

    `position.offset` is 0 where the channel keeps no history. `encoded` holds the bytes that go
    to the clients, made once for each encoding and then shared by every subscriber.
    """

    channel: str
    message: Message
    kind: Kind
    position: Position
    encoded: dict[object, bytes] = msgspec.field(default_factory=dict)


def is_binary_type(content_type: str) -> bool:
    """Whether a Content-Type announces bytes that are no text."""
    return _announced(content_type) is Kind.BINARY


@lru_cache(maxsize=256)
def _announced(content_type: str) -> Kind:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == BINARY_TYPE or media_type.startswith(_BINARY_FAMILIES):
        return Kind.BINARY
    return Kind.JSON if media_type == JSON_TYPE else Kind.TEXT


def is_utf8(data: bytes) -> bool:
    """Whether the bytes may be sent as text."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def check_text(channel: str, message: Message) -> None:
    """Raise NotTextError, which names the channel, unless text in the message is UTF-8."""
    if not is_binary_type(message.content_type) and not is_utf8(message.data):
        raise NotTextError(f"{channel}: a text message must be UTF-8")


def kind_of(data: bytes, content_type: str) -> Kind:
    """How the bytes may safely be handed on, whatever their Content-Type claims.

    What is not UTF-8 is binary, and what is called JSON without being it is text: a client's
    frame is built around these bytes and must not be broken by them.
    """
    kind = _announced(content_type)
    if kind is Kind.BINARY or not is_utf8(data):
        return Kind.BINARY
    if kind is Kind.JSON and not _is_json(data):
        return Kind.TEXT
    return kind


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
