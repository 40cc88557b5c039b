"""Name-value pairs, as PARAMS records carry them (FastCGI specification, 3.4).

A block is any number of encoded pairs and always ends on a pair boundary, so that blocks can be
made at different times and sent one behind the other. php-fpm parses every PARAMS record by
itself (php-src, main/fastcgi.c, fcgi_get_params): a pair never straddles two records, and one
that does not fit a single record is refused here, before anything is connected.
"""

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Final

from .errors import LocalProtocolError, RemoteProtocolError

MAX_PIECE: Final = 0xFFFF
"""The content of one record, and so the largest pair."""

_SHORT_MAX: Final = 0x7F
# The first bit of a four-byte length is set, which leaves 31 for the length.
_LONG_MARK: Final = 0x8000_0000
_LONG: Final = Struct(">I")
_SHORT: Final = tuple(bytes((length,)) for length in range(_SHORT_MAX + 1))


def encode(pairs: Iterable[tuple[bytes | str, bytes | str]]) -> bytes:
    """One block of the pairs, in their order.

    Text becomes UTF-8, with surrogate escapes turned back into the bytes they stand for. A NUL,
    text that has no bytes, or a pair too large for one record raises LocalProtocolError.
    """
    parts: list[bytes] = []
    try:
        for name, value in pairs:
            if isinstance(name, str):
                name = name.encode("utf-8", "surrogateescape")  # noqa: PLW2901 - one step each
            if isinstance(value, str):
                value = value.encode("utf-8", "surrogateescape")  # noqa: PLW2901
            # A number is looked for ten times faster than a bytes object of length one.
            if 0 in name or 0 in value:
                raise LocalProtocolError("a parameter contains NUL")
            name_size, value_size = len(name), len(value)
            if name_size <= _SHORT_MAX and value_size <= _SHORT_MAX:
                parts += (_SHORT[name_size], _SHORT[value_size], name, value)
            else:
                parts += (_encode_lengths(name_size, value_size), name, value)
    except UnicodeEncodeError as exc:
        raise LocalProtocolError("a parameter holds a character that has no UTF-8 form") from exc
    return b"".join(parts)


def split(block: bytes) -> Iterator[bytes]:
    """The block in pieces of at most 65535 bytes, cut between pairs; nothing if it is empty.

    A block that does not end on a pair boundary raises LocalProtocolError.
    """
    start = end = 0
    try:
        while end < len(block):
            following = _measure(block, end)[2]
            if following - start > MAX_PIECE:
                if following - end > MAX_PIECE:
                    raise LocalProtocolError(
                        f"a parameter of {following - end} bytes does not fit one record"
                    )
                yield block[start:end]
                start = end
            end = following
    except _CutShortError as exc:
        raise LocalProtocolError("a block of parameters ends inside a pair") from exc
    if end:
        yield block[start:end]


def decode(block: bytes) -> list[tuple[bytes, bytes]]:
    """The pairs of one record, as a responder reads them; RemoteProtocolError if it is cut."""
    pairs: list[tuple[bytes, bytes]] = []
    end = 0
    try:
        while end < len(block):
            name, value, following = _measure(block, end)
            pairs.append((block[name:value], block[value:following]))
            end = following
    except _CutShortError as exc:
        raise RemoteProtocolError("PARAMS ends inside a pair") from exc
    return pairs


class _CutShortError(Exception):
    """The block ends inside a pair; whose fault that is, the caller knows."""


def _encode_lengths(name_size: int, value_size: int) -> bytes:
    lengths = _encode_length(name_size) + _encode_length(value_size)
    if len(lengths) + name_size + value_size > MAX_PIECE:
        raise LocalProtocolError(
            f"a parameter of {name_size} + {value_size} bytes does not fit one record"
        )
    return lengths


def _encode_length(length: int) -> bytes:
    if length <= _SHORT_MAX:
        return _SHORT[length]
    # Beyond 31 bits the pair is refused anyway; the mark must only not overflow before that.
    return _LONG.pack(_LONG_MARK | min(length, MAX_PIECE))


def _measure(block: bytes, start: int) -> tuple[int, int, int]:
    """Where the pair's name and value begin and where the pair ends."""
    name_size, middle = _decode_length(block, start)
    value_size, name = _decode_length(block, middle)
    value = name + name_size
    end = value + value_size
    if end > len(block):
        raise _CutShortError
    return name, value, end


def _decode_length(block: bytes, start: int) -> tuple[int, int]:
    """The length that stands there, and where what follows it begins."""
    if start >= len(block):
        raise _CutShortError
    first = block[start]
    if first <= _SHORT_MAX:
        return first, start + 1
    if start + 4 > len(block):
        raise _CutShortError
    return _LONG.unpack_from(block, start)[0] ^ _LONG_MARK, start + 4
