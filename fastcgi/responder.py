"""The application's side of FastCGI without I/O, for tests and tools.

`RequestReader` turns what a web server sends into requests; the functions encode answers, honest
ones by default and hostile ones when told so. Stricter than php-fpm about what it reads: a client
that passes here is understood by any responder.
"""

from struct import Struct
from typing import Final, NamedTuple

from . import params
from .errors import RemoteProtocolError
from .records import (
    KEEP_CONN,
    MAX_CONTENT,
    REQUEST_ID,
    ProtocolStatus,
    Record,
    RecordType,
    Role,
    decode_records,
    encode_record,
)

_BEGIN_REQUEST: Final = Struct(">HB5x")
_END_REQUEST: Final = Struct(">IB")


class Request(NamedTuple):
    """A whole request. Text of `params` is UTF-8 with surrogate escapes."""

    params: dict[str, str]
    stdin: bytes
    keep: bool
    id: int


class RequestReader:
    """Reads the requests of one connection, of any id, also several at a time.

    Keeps what a request brings without limits, because its clients are our own.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._requests: dict[int, _Incoming] = {}

    def feed(self, data: bytes) -> list[Request]:
        """The requests that this has completed; RemoteProtocolError if it is not FastCGI."""
        self._buffer += data
        taken = (self._take(record) for record in decode_records(self._buffer))
        return [request for request in taken if request is not None]

    def _take(self, record: Record) -> Request | None:
        if record.type == RecordType.BEGIN_REQUEST:
            self._begin(record)
            return None
        incoming = self._requests.get(record.request_id)
        if incoming is None:
            raise RemoteProtocolError("a record of a request not begun, id", record.request_id)
        if record.type == RecordType.ABORT_REQUEST:
            del self._requests[record.request_id]
        elif record.type == RecordType.PARAMS and not incoming.params_ended:
            incoming.add_params(record.content)
        elif record.type == RecordType.STDIN and incoming.params_ended:
            if not record.content:
                del self._requests[record.request_id]
                return Request(
                    incoming.params, bytes(incoming.stdin), incoming.keep, record.request_id
                )
            incoming.stdin += record.content
        else:
            raise RemoteProtocolError("a record that has no place here, type", record.type)
        return None

    def _begin(self, record: Record) -> None:
        if record.request_id in self._requests or record.request_id == 0:
            raise RemoteProtocolError("a request begun with a false id", record.request_id)
        if len(record.content) != _BEGIN_REQUEST.size:
            raise RemoteProtocolError("BEGIN_REQUEST of a false length", len(record.content))
        role, flags = _BEGIN_REQUEST.unpack(record.content)
        if role != Role.RESPONDER:
            raise RemoteProtocolError("not a role of ours", role)
        self._requests[record.request_id] = _Incoming(keep=bool(flags & KEEP_CONN))


class _Incoming:
    """A request of which not everything has come."""

    __slots__ = ("keep", "params", "params_ended", "stdin")

    def __init__(self, *, keep: bool) -> None:
        self.keep = keep
        self.params: dict[str, str] = {}
        self.params_ended = False
        self.stdin = bytearray()

    def add_params(self, content: bytes) -> None:
        self.params_ended = not content
        for name, value in params.decode(content):
            self.params[name.decode("utf-8", "surrogateescape")] = value.decode(
                "utf-8", "surrogateescape"
            )


def encode_stdout(content: bytes, *, padding_size: int = 0, request_id: int = REQUEST_ID) -> bytes:
    """`content` in as many STDOUT records as it takes; nothing at all if it is empty."""
    return _encode_stream(RecordType.STDOUT, content, padding_size, request_id)


def encode_stderr(content: bytes, *, padding_size: int = 0, request_id: int = REQUEST_ID) -> bytes:
    """`content` in as many STDERR records as it takes; nothing at all if it is empty."""
    return _encode_stream(RecordType.STDERR, content, padding_size, request_id)


def encode_end(
    app_status: int = 0,
    protocol_status: int = ProtocolStatus.REQUEST_COMPLETE,
    *,
    padding_size: int = 0,
    request_id: int = REQUEST_ID,
    reserved: bytes = b"\0\0\0",
) -> bytes:
    """END_REQUEST. php-fpm leaves in `reserved` whatever was in its memory."""
    return encode_record(
        RecordType.END_REQUEST,
        _END_REQUEST.pack(app_status, protocol_status) + reserved,
        request_id=request_id,
        padding_size=padding_size,
    )


def encode_answer(
    stdout: bytes,
    stderr: bytes = b"",
    *,
    app_status: int = 0,
    padding_size: int = 0,
    request_id: int = REQUEST_ID,
) -> bytes:
    """A whole answer as php-fpm writes it: STDERR first, no empty records, END_REQUEST."""
    return b"".join(
        (
            encode_stderr(stderr, padding_size=padding_size, request_id=request_id),
            encode_stdout(stdout, padding_size=padding_size, request_id=request_id),
            encode_end(app_status, padding_size=padding_size, request_id=request_id),
        )
    )


def _encode_stream(
    record_type: RecordType, content: bytes, padding_size: int, request_id: int
) -> bytes:
    return b"".join(
        encode_record(
            record_type,
            content[start : start + MAX_CONTENT],
            request_id=request_id,
            padding_size=padding_size,
        )
        for start in range(0, len(content), MAX_CONTENT)
    )
