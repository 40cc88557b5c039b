"""FastCGI records: their types, their header, and a whole request as one run of bytes.

The numbers are those of the FastCGI specification, 8. Padding is always 0: php-fpm does not read
the padding of an empty STDIN record and takes it for the next request (php-src, main/fastcgi.c).
The request id is always 1: php-fpm serves one request a connection at a time.
"""

from enum import IntEnum
from itertools import chain
from struct import Struct
from typing import Final, NamedTuple

from . import params
from .errors import RemoteProtocolError

VERSION: Final = 1
HEADER_SIZE: Final = 8
MAX_CONTENT: Final = 0xFFFF
# The largest content that needs no padding to a multiple of eight, as the specification's 3.3
# recommends for alignment.
MAX_STDIN: Final = 65528
REQUEST_ID: Final = 1
END_REQUEST_SIZE: Final = 8


class RecordType(IntEnum):
    """What a record carries."""

    BEGIN_REQUEST = 1
    ABORT_REQUEST = 2
    END_REQUEST = 3
    PARAMS = 4
    STDIN = 5
    STDOUT = 6
    STDERR = 7
    DATA = 8
    GET_VALUES = 9
    GET_VALUES_RESULT = 10
    UNKNOWN_TYPE = 11


class Role(IntEnum):
    """What the application is asked to be; php-fpm is a responder."""

    RESPONDER = 1
    AUTHORIZER = 2
    FILTER = 3


class ProtocolStatus(IntEnum):
    """How a request ended, as far as the protocol is concerned."""

    REQUEST_COMPLETE = 0
    CANT_MPX_CONN = 1
    OVERLOADED = 2
    UNKNOWN_ROLE = 3


KEEP_CONN: Final = 1
"""The only flag of BEGIN_REQUEST: the application leaves the connection open."""


class Header(NamedTuple):
    """The eight bytes in front of every record; the reserved one is left out."""

    version: int
    type: int
    request_id: int
    content_size: int
    padding_size: int


class Record(NamedTuple):
    """A whole record. `type` is a plain number, because the peer may send any."""

    type: int
    request_id: int
    content: bytes
    padding_size: int = 0


_HEADER: Final = Struct(">BBHHBB")
_HEADER_READ: Final = Struct(">BBHHBx")
_BEGIN_REQUEST: Final = Struct(">HB5x")
_END_REQUEST: Final = Struct(">IB3x")

_unpack_header: Final = _HEADER_READ.unpack_from
unpack_end_request: Final = _END_REQUEST.unpack_from
"""(buffer, offset) to (app status, protocol status): the content of END_REQUEST."""


def pack_header(
    record_type: int,
    content_size: int,
    *,
    request_id: int = REQUEST_ID,
    padding_size: int = 0,
    version: int = VERSION,
    reserved: int = 0,
) -> bytes:
    """A record's header, with any numbers that fit their fields."""
    return _HEADER.pack(version, record_type, request_id, content_size, padding_size, reserved)


def unpack_header(data: bytes | bytearray, offset: int = 0) -> Header:
    """The header at `offset`, whose eight bytes must be there."""
    return Header._make(_unpack_header(data, offset))


def encode_record(
    record_type: int, content: bytes = b"", *, request_id: int = REQUEST_ID, padding_size: int = 0
) -> bytes:
    """One record of at most 65535 bytes of content, padded with zeros."""
    header = pack_header(
        record_type, len(content), request_id=request_id, padding_size=padding_size
    )
    return b"".join((header, content, bytes(padding_size)))


def decode_records(buffer: bytearray) -> list[Record]:
    """The whole records at the front of `buffer`, which keeps only what comes behind them.

    A version other than 1 raises RemoteProtocolError: the lengths cannot be believed.
    """
    records: list[Record] = []
    start = 0
    while len(buffer) - start >= HEADER_SIZE:
        header = unpack_header(buffer, start)
        if header.version != VERSION:
            raise RemoteProtocolError("the peer does not speak FastCGI; version", header.version)
        content = start + HEADER_SIZE
        padding = content + header.content_size
        end = padding + header.padding_size
        if end > len(buffer):
            break
        records.append(
            Record(
                header.type, header.request_id, bytes(buffer[content:padding]), header.padding_size
            )
        )
        start = end
    del buffer[:start]
    return records


BEGIN_KEEP: Final = encode_record(
    RecordType.BEGIN_REQUEST, _BEGIN_REQUEST.pack(Role.RESPONDER, KEEP_CONN)
)
BEGIN_CLOSE: Final = encode_record(RecordType.BEGIN_REQUEST, _BEGIN_REQUEST.pack(Role.RESPONDER, 0))

_PARAMS_END: Final = encode_record(RecordType.PARAMS)
_STDIN_END: Final = encode_record(RecordType.STDIN)

# Headers of the hot path: the first four bytes are known, only the content's length varies.
_SIZED: Final = Struct(">4sHxx").pack
_SIZED_AFTER_PARAMS: Final = Struct(">12sHxx").pack
_PARAMS_START: Final = _PARAMS_END[:4]
_STDIN_START: Final = _STDIN_END[:4]
_PARAMS_END_STDIN_START: Final = _PARAMS_END + _STDIN_START


def encode_begin(*, keep: bool) -> bytes:
    """BEGIN_REQUEST alone, for whoever sends it ahead of the rest."""
    return BEGIN_KEEP if keep else BEGIN_CLOSE


def encode_request(blocks: tuple[bytes, ...], body: bytes, *, keep: bool) -> bytes:
    """A whole request for one send; each of `blocks` ends on a pair boundary.

    A block with a pair that does not fit one record raises LocalProtocolError.
    """
    # Runs once a frame: what fits one record of each kind is joined and nothing else.
    begin = BEGIN_KEEP if keep else BEGIN_CLOSE
    content = b"".join(blocks)
    params_size, size = len(content), len(body)
    if 0 < params_size <= MAX_CONTENT and 0 < size <= MAX_STDIN:
        return b"".join(
            (
                begin,
                _SIZED(_PARAMS_START, params_size),
                content,
                _SIZED_AFTER_PARAMS(_PARAMS_END_STDIN_START, size),
                body,
                _STDIN_END,
            )
        )
    return _encode_pieces(begin, content, body)


def encode_after_begin(blocks: tuple[bytes, ...], body: bytes) -> bytes:
    """What follows BEGIN_REQUEST in `encode_request`."""
    return _encode_pieces(b"", b"".join(blocks), body)


def _encode_pieces(begin: bytes, content: bytes, body: bytes) -> bytes:
    """The general case: no or many PARAMS and STDIN records.

    Content is never empty, because an empty record would end its stream there.
    """
    pieces = params.split(content)
    view = memoryview(body)
    stdin = (view[start : start + MAX_STDIN] for start in range(0, len(body), MAX_STDIN))
    return b"".join(
        chain(
            (begin,),
            chain.from_iterable((_SIZED(_PARAMS_START, len(piece)), piece) for piece in pieces),
            (_PARAMS_END,),
            chain.from_iterable((_SIZED(_STDIN_START, len(piece)), piece) for piece in stdin),
            (_STDIN_END,),
        )
    )
