"""What travels through Redis and NATS: publications, coming and going, questions. Data, never code.

Anybody who can write there can put bytes where messages are expected; what cannot be read is
`MalformedError`, and that is all that comes of it.

    P<offset> <epoch> <body>   a publication; the body is a MessagePack array (type, exclude, data)
    J<member>, L<member>       came, went; MessagePack array (id, user)
    C                          the channel was closed
    Q<question>, A<answer>     MessagePack arrays, in a worker's inbox
"""

from typing import Final

import msgspec

from gateway.channels.broker import Member
from gateway.channels.publication import Message, Position, Publication, kind_of

MAX_BYTES: Final = 64 * 1024 * 1024
"""What is larger was not published by a gateway: its API refuses bodies long before."""

_LONGEST_NUMBER: Final = 16
_LONGEST_EPOCH: Final = 64


class MalformedError(Exception):
    """Not what a gateway sends."""


class _Body(msgspec.Struct, array_like=True, frozen=True, gc=False):
    content_type: str
    exclude: str
    data: bytes


class _Who(msgspec.Struct, array_like=True, frozen=True, gc=False):
    id: str
    user: str


class Question(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Something asked of a worker; `number` comes back with the answer."""

    asker: str
    number: int
    data: bytes


class Answer(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a worker answers."""

    number: int
    data: bytes


_encode: Final = msgspec.msgpack.Encoder().encode
_decode_body: Final = msgspec.msgpack.Decoder(_Body).decode
_decode_who: Final = msgspec.msgpack.Decoder(_Who).decode
_decode_question: Final = msgspec.msgpack.Decoder(Question).decode
_decode_answer: Final = msgspec.msgpack.Decoder(Answer).decode


def body_of(message: Message) -> bytes:
    """What is kept of a message and sent to subscribers."""
    return _encode(_Body(message.content_type, message.exclude, message.data))


def publication_of(channel: str, position: Position, body: bytes) -> Publication:
    """The publication with that body."""
    try:
        found = _decode_body(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as exc:
        raise MalformedError(str(exc)) from exc
    kind = kind_of(found.data, found.content_type)
    message = Message(found.data, found.content_type, found.exclude)
    return Publication(channel, message, kind, position)


def read_publication(channel: str, payload: bytes) -> Publication:
    """What came as `P…`."""
    pieces = payload[1:].split(b" ", 2)
    if len(pieces) != 3 or len(pieces[0]) > _LONGEST_NUMBER or len(pieces[1]) > _LONGEST_EPOCH:  # noqa: PLR2004 - offset, epoch, body
        raise MalformedError("expected offset, epoch and body")
    try:
        position = Position(int(pieces[0]), pieces[1].decode())
    except ValueError as exc:
        raise MalformedError(str(exc)) from exc
    if position.offset < 0 or bool(position.offset) != bool(position.epoch):
        raise MalformedError("an offset needs an epoch")
    return publication_of(channel, position, pieces[2])


def read_member(payload: bytes) -> Member:
    """What came as `J…` or `L…`."""
    try:
        found = _decode_who(payload[1:])
    except (msgspec.DecodeError, ValueError, RecursionError) as exc:
        raise MalformedError(str(exc)) from exc
    return Member(found.id, found.user)


def question(asker: str, number: int, data: bytes) -> bytes:
    """Ask; the answer comes to the asker's inbox."""
    return b"Q" + _encode(Question(asker, number, data))


def answer(number: int, data: bytes) -> bytes:
    """Answer."""
    return b"A" + _encode(Answer(number, data))


def read_letter(payload: bytes) -> Question | Answer:
    """What came to a worker's inbox."""
    kind = payload[:1]
    try:
        if kind == b"Q":
            return _decode_question(payload[1:])
        if kind == b"A":
            return _decode_answer(payload[1:])
    except (msgspec.DecodeError, ValueError, RecursionError) as exc:
        raise MalformedError(str(exc)) from exc
    raise MalformedError("neither question nor answer")
