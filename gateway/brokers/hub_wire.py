"""The wire between the hub and its workers: bytes in, frames out.

A frame is the length of what follows (4 bytes), its kind, its operation, the number of the call
it belongs to (4 bytes, 0 for none) and a body, which the operation explains. Both ends are
processes of one gateway and of one version, so there is nothing to negotiate; what does not
parse ends the connection. Nothing here waits or owns a socket.
"""

from enum import IntEnum
from struct import Struct
from typing import Final

import msgspec

from gateway.errors import BrokerUnavailableError, GatewayError

LIMIT: Final = 128 * 1024 * 1024
"""The largest frame, its head not counted."""

_HEAD: Final = Struct("!IBBI")
_LENGTH: Final = 4
_REST: Final = _HEAD.size - _LENGTH


class Kind(IntEnum):
    """What a frame is to its receiver."""

    CALL = 1
    """Wants a REPLY or a FAILURE with the same number."""
    REPLY = 2
    FAILURE = 3
    TELL = 4
    """Wants nothing."""


class Op(IntEnum):
    """What is asked or told."""

    HELLO = 1
    # From a worker, about channels.
    ATTACH = 2
    OPEN = 3
    CLOSE = 4
    PUBLISH = 5
    JOIN = 6
    LEAVE = 7
    HISTORY = 8
    PRESENCE = 9
    STATE = 10
    LIST = 11
    ASK = 12
    # From the hub, about channels.
    PUBLICATION = 20
    JOINED = 21
    LEFT = 22
    CLOSED = 23
    QUESTION = 24
    PAGE = 25
    # About the processes themselves; the supervisor and its workers say what they mean.
    READY = 40
    BEAT = 41
    CONFIGURE = 42
    SITUATION = 43
    GATHER = 44
    EXPORT = 45
    SHARES = 46
    DEMAND = 47
    ENTER = 48
    LEAVE_GATEWAY = 49
    INSIDE = 50
    WILL = 51
    REVOKE = 52
    WILLS = 53
    INHERIT = 54


CALL: Final = Kind.CALL
"""An enum's attribute costs thirty times a global; every frame is compared with these."""
REPLY: Final = Kind.REPLY
TELL: Final = Kind.TELL

_KINDS: Final = {kind.value: kind for kind in Kind}
_OPS: Final = {op.value: op for op in Op}


class WireError(GatewayError):
    """Bytes that are no frame; the connection they came on is of no more use."""


class FrameTooLargeError(BrokerUnavailableError):
    """A message that no frame can hold."""

    def __init__(self, size: int) -> None:
        super().__init__(f"a message of {size} bytes, at most {LIMIT} go to the hub")
        self.size = size


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One message; `number` is 0 for what belongs to no call."""

    kind: Kind
    op: Op
    number: int
    body: bytes


def encode(kind: Kind, op: Op, number: int, body: bytes) -> bytes:
    """The frame as bytes; FrameTooLargeError when there is no such frame."""
    size = _REST + len(body)
    if size > LIMIT:
        raise FrameTooLargeError(size)
    return _HEAD.pack(size, kind, op, number) + body


class Splitter:
    """Finds the frames in a stream of bytes, however it is cut."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are whole now, in order; WireError for what can be none."""
        rest: bytes | bytearray = data
        if self._rest:
            self._rest += data
            rest = self._rest
        frames: list[Frame] = []
        start, end = 0, len(rest)
        while end - start >= _HEAD.size:
            size, kind, op, number = _HEAD.unpack_from(rest, start)
            if not _REST <= size <= LIMIT:
                raise WireError(f"a frame of {size} bytes")
            after = start + _LENGTH + size
            if after > end:
                break
            try:
                frames.append(
                    Frame(_KINDS[kind], _OPS[op], number, bytes(rest[start + _HEAD.size : after]))
                )
            except KeyError:
                raise WireError(f"a frame of kind {kind} and operation {op}") from None
            start = after
        if rest is self._rest:
            del self._rest[:start]
        else:
            self._rest += data[start:]
        return frames
