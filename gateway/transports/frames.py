"""Frames from the server to the client: RFC 6455 section 5.2, unmasked, never fragmented.

It exists so that one publication is encoded once and the same bytes are written to thousands of
sockets. Reading is not done here: what clients send goes through `guard` and aiohttp's reader.
"""

from enum import IntEnum
from struct import Struct
from typing import Final


class Opcode(IntEnum):
    """RFC 6455 section 11.8."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


MAX_CONTROL_PAYLOAD: Final = 125
MAX_CLOSE_REASON: Final = 123

_FIN: Final = 0x80
_CLOSE: Final = int(Opcode.CLOSE)
_RSV1: Final = 0x40
_LENGTH_16: Final = 126
_LENGTH_64: Final = 127
_pack_16: Final = Struct("!BBH").pack
_pack_64: Final = Struct("!BBQ").pack
_pack_code: Final = Struct("!H").pack


def _short_headers(first: int) -> tuple[bytes, ...]:
    return tuple(bytes((first, length)) for length in range(_LENGTH_16))


_SHORT: Final = {
    first: _short_headers(first)
    for opcode in Opcode
    for first in (_FIN | opcode, _FIN | _RSV1 | opcode)
}


COMPRESSED: Final = _RSV1
"""Added to an opcode: the payload is compressed. It sets RSV1 and changes nothing else."""


def encode(payload: bytes, opcode: int) -> bytes:
    """One whole frame."""
    first = _FIN | opcode
    length = len(payload)
    if length < _LENGTH_16:
        return _SHORT[first][length] + payload
    if length <= 0xFFFF:  # noqa: PLR2004 - the largest length that two bytes hold
        return _pack_16(first, _LENGTH_16, length) + payload
    return _pack_64(first, _LENGTH_64, length) + payload


def encode_close(code: int, reason: str = "") -> bytes:
    """A close frame; code 1005 stands for "no code", as RFC 6455 section 7.1.5 names it.

    The reason is cut to what fits, between characters. Raises ValueError for a code that must
    never be sent.
    """
    if code == NO_CODE:
        return encode(b"", _CLOSE)
    if not is_sendable(code):
        raise ValueError(f"close code {code} must not appear in a close frame")
    payload = _pack_code(code)
    if reason:
        cut = reason.encode(errors="replace")[:MAX_CLOSE_REASON].decode(errors="ignore")
        payload += cut.encode()
    return encode(payload, _CLOSE)


NO_CODE: Final = 1005
_ASSIGNED: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})
_FIRST_REGISTERED: Final = 3000
_LAST_PRIVATE: Final = 4999


def is_sendable(code: int) -> bool:
    """Whether the code may stand in a close frame, either way (RFC 6455 section 7.4)."""
    return code in _ASSIGNED or _FIRST_REGISTERED <= code <= _LAST_PRIVATE
