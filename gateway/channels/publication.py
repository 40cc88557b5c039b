"""What is published, and where it stands in its channel."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """How a publication's bytes are handed on: as text, as a JSON value, or as binary."""

    TEXT = "text"
    JSON = "json"
    BINARY = "binary"


JSON_TYPE: Final = "application/json"
TEXT_TYPE: Final = "text/plain; charset=utf-8"
BINARY_TYPE: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Position:
    """How far a stream has come, and in which life of it.

    Offsets of a life start at 1 and grow by one; offset 0 is the position before the first.
    """

    offset: int
    epoch: str


@dataclass(frozen=True, slots=True)
class Message:
    """What a publisher hands in: bytes with their Content-Type.

    `exclude` is the id of a connection that must not receive it, or empty. `key` is the
    publisher's idempotency key, or empty.
    """

    data: bytes
    content_type: str = TEXT_TYPE
    exclude: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Publication:
    """A message that a broker has accepted.

    `position.offset` is 0 where the channel keeps no history. `encoded` holds the bytes that go
    to the clients, made once for each encoding and then shared by every subscriber.
    """

    channel: str
    message: Message
    kind: Kind
    position: Position
    encoded: dict[object, bytes] = field(default_factory=dict, repr=False)
