"""What is said about channels between a worker and the hub, as values that go into frames.

Without I/O. Positions, messages, receipts and states travel as what they are; the rest has a shape
here. Rules travel as bytes that both ends remember, so that the same rules are the same
object in the hub however many workers send them.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import msgspec

from gateway.channels.broker import ChannelRules, ChannelState, Member, Page, Receipt
from gateway.channels.publication import Kind, Message, Position, Publication
from gateway.errors import (
    BrokerUnavailableError,
    ChannelFullError,
    ChannelNameError,
    ChannelNotFoundError,
    GatewayError,
    NodeGoneError,
    TooManyChannelsError,
)

_encode: Final[Callable[[object], bytes]] = msgspec.msgpack.Encoder().encode

_RULES: Final = msgspec.msgpack.Decoder(tuple[bool, int | None, int, float, bool, float])


@lru_cache(maxsize=1024)
def pack_rules(rules: ChannelRules) -> bytes:
    """Rules as they travel."""
    return _encode(
        (
            rules.explicit,
            rules.max_subscribers,
            rules.history_size,
            float(rules.history_ttl),
            rules.presence,
            float(rules.idle_ttl),
        )
    )


@lru_cache(maxsize=1024)
def unpack_rules(packed: bytes) -> ChannelRules:
    """The rules; the same object for the same bytes."""
    return ChannelRules(*_RULES.decode(packed))


class Hello(msgspec.Struct, array_like=True):
    """The first thing a worker says: the name of its life."""

    node: str


class Attach(msgspec.Struct, array_like=True):
    """Who of the worker is in which channel: [channel, rules, [[id, user], ...]]."""

    channels: list[tuple[str, bytes, list[tuple[str, str]]]]


class Named(msgspec.Struct, array_like=True):
    """A channel, with its rules where the operation needs them."""

    channel: str
    rules: bytes = b""


class Seat(msgspec.Struct, array_like=True):
    """A member that comes or goes."""

    channel: str
    id: str
    user: str
    rules: bytes = b""

    def member(self) -> Member:
        """The member as others see it."""
        return Member(self.id, self.user)


class Stretch(msgspec.Struct, array_like=True):
    """Which part of a history is wanted; `epoch` None asks for the newest.

    The publications come in parts that bear the token, before the answer.
    """

    token: int
    channel: str
    rules: bytes
    offset: int
    epoch: str | None
    limit: int | None


class Listing(msgspec.Struct, array_like=True):
    """Which channels are wanted."""

    match: str
    limit: int
    after: str


class Question(msgspec.Struct, array_like=True):
    """Something for the worker of that name."""

    node: str
    question: bytes


Printed = tuple[str, Message, Kind, Position]
"""A publication as it travels; its kind has been found out once, by the hub."""


def printed(publication: Publication) -> Printed:
    """The publication, ready to travel."""
    return (
        publication.channel,
        publication.message,
        publication.kind,
        publication.position,
    )


class Leaf(msgspec.Struct, array_like=True):
    """The end of a stretch of history; what it holds has been told in parts before."""

    position: Position
    recovered: bool

    @classmethod
    def of(cls, page: Page) -> "Leaf":
        """All of the page but its publications."""
        return cls(page.position, page.recovered)

    def page(self, publications: tuple[Publication, ...]) -> Page:
        """The whole page."""
        return Page(publications, self.position, self.recovered)


class Failed(msgspec.Struct, array_like=True):
    """Why a call failed: the error's class, its words, and the facts it is made from again."""

    error: str
    words: str
    channel: str = ""
    limit: int = 0

    @classmethod
    def of(cls, error: BaseException) -> "Failed":
        """The error, ready to travel."""
        channel = str(getattr(error, "channel", ""))
        limit = int(getattr(error, "limit", 0))
        return cls(type(error).__name__, str(error), channel, limit)

    def exception(self) -> GatewayError:
        """The error as this side raises it; one it does not know is the hub's unavailability."""
        match self.error:
            case "ChannelNotFoundError":
                return ChannelNotFoundError(self.channel)
            case "ChannelFullError":
                return ChannelFullError(self.channel, self.limit)
            case "ChannelNameError":
                return ChannelNameError(self.channel, self.words)
            case "TooManyChannelsError":
                return TooManyChannelsError(self.limit)
            case "NodeGoneError":
                return NodeGoneError(self.words)
            case _:
                return BrokerUnavailableError(self.words)


def pack(message: object) -> bytes:
    """Any of the values above, or what is made of plain ones, as a frame's body."""
    return _encode(message)


decode_attach: Final = msgspec.msgpack.Decoder(Attach).decode
decode_failed: Final = msgspec.msgpack.Decoder(Failed).decode
decode_hello: Final = msgspec.msgpack.Decoder(Hello).decode
decode_leaf: Final = msgspec.msgpack.Decoder(Leaf).decode
decode_listing: Final = msgspec.msgpack.Decoder(Listing).decode
decode_members: Final = msgspec.msgpack.Decoder(list[tuple[str, str]]).decode
decode_named: Final = msgspec.msgpack.Decoder(Named).decode
decode_name: Final = msgspec.msgpack.Decoder(str).decode
decode_names: Final = msgspec.msgpack.Decoder(list[str]).decode
decode_part: Final = msgspec.msgpack.Decoder(tuple[int, list[Printed]]).decode
decode_position: Final = msgspec.msgpack.Decoder(Position).decode
decode_printed: Final = msgspec.msgpack.Decoder(Printed).decode
decode_publish: Final = msgspec.msgpack.Decoder(tuple[str, bytes, Message]).decode
decode_question: Final = msgspec.msgpack.Decoder(Question).decode
decode_receipt: Final = msgspec.msgpack.Decoder(Receipt).decode
decode_seat: Final = msgspec.msgpack.Decoder(Seat).decode
decode_state: Final = msgspec.msgpack.Decoder(ChannelState | None).decode
decode_states: Final = msgspec.msgpack.Decoder(tuple[list[ChannelState], str | None]).decode
decode_stretch: Final = msgspec.msgpack.Decoder(Stretch).decode
decode_truth: Final = msgspec.msgpack.Decoder(bool | None).decode
