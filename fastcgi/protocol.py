"""The receiving side of one connection as a state machine: bytes in, responses out.

A record is judged as soon as its header is there, so nothing is read on the word of a peer that
has already broken the protocol (FastCGI specification, 3.3 and 5). Decisions where php-fpm or
the specification leave room:

- END_REQUEST alone ends a response; php-fpm never sends the empty STDOUT record that should come
  before it (php-src, main/fastcgi.c, fcgi_flush).
- An empty STDOUT record without padding closes that stream: more STDOUT breaks the protocol. An
  empty record with padding closes nothing.
- Management records (GET_VALUES_RESULT, UNKNOWN_TYPE) answer questions that are never asked
  here; like any record of an unknown type or another request they break the protocol.

After any error the reader is closed and so must be the connection.
"""

from collections.abc import Callable, Mapping
from enum import IntEnum, auto
from struct import Struct
from typing import Final

from .errors import (
    Executed,
    FastCGIError,
    LocalProtocolError,
    RemoteProtocolError,
    UpstreamDiedError,
    UpstreamOverloadedError,
    UpstreamRefusedError,
)
from .head import Head, HeadCache
from .records import (
    END_REQUEST_SIZE,
    HEADER_SIZE,
    REQUEST_ID,
    VERSION,
    Header,
    ProtocolStatus,
    RecordType,
    encode_record,
    unpack_end_request,
    unpack_header,
)
from .response import Response, ResponseBuilder


class State(IntEnum):
    """How far the connection's current response has come."""

    IDLE = auto()
    AWAITED = auto()
    READING = auto()
    STDOUT_ENDED = auto()
    CLOSED = auto()


# What the usual response begins and ends with: STDOUT and a successful END_REQUEST of request 1,
# of which only the last three, reserved bytes vary.
_STDOUT_START: Final = encode_record(RecordType.STDOUT)[:4]
_USUAL_END: Final = encode_record(RecordType.END_REQUEST, bytes(END_REQUEST_SIZE))[:-3]
_END_RECORD_SIZE: Final = HEADER_SIZE + END_REQUEST_SIZE
_USUAL_MINIMUM: Final = HEADER_SIZE + _END_RECORD_SIZE
_read_sizes: Final = Struct(">HB").unpack_from
_SIZES_OFFSET: Final = 4
# What a named tuple's own constructor calls, without the layer that fills in defaults.
_new: Final = tuple.__new__
_BLANK_LINE: Final = b"\r\n\r\n"

# Looked up for every response: a global costs a fraction of an enum's attribute.
IDLE: Final = State.IDLE
_AWAITED: Final = State.AWAITED

# The records that may come, and the state after them. An empty STDOUT record, which ends that
# stream, leads from READING to STDOUT_ENDED.
_NEXT: Final[Mapping[tuple[State, int], State]] = {
    (State.READING, RecordType.STDOUT): State.READING,
    (State.READING, RecordType.STDERR): State.READING,
    (State.READING, RecordType.END_REQUEST): State.IDLE,
    (State.STDOUT_ENDED, RecordType.STDERR): State.STDOUT_ENDED,
    (State.STDOUT_ENDED, RecordType.END_REQUEST): State.IDLE,
}

_SHARED_HEADS: Final = HeadCache()


class ResponseReader:
    """Reads the responses of one connection, one after the other.

    `start` when a request is sent, `feed` what arrives, `feed_eof` when the peer has ended. At most
    `max_response` bytes of body are taken, whether they are collected or streamed. `bytes_seen`
    counts what has come since `start`; zero says that the response has not begun. `state` says how
    far the response has come; only the reader changes it.
    """

    __slots__ = (
        "_buffer",
        "_builder",
        "_find_head",
        "_heads",
        "_max_response",
        "_needed",
        "_on_body",
        "_response",
        "bytes_seen",
        "state",
    )

    def __init__(self, *, max_response: int, heads: HeadCache = _SHARED_HEADS) -> None:
        self._max_response = max_response
        self._heads = heads
        self._find_head = heads.find
        self.state = State.IDLE
        self._on_body: Callable[[bytes], None] | None = None
        self.bytes_seen = 0
        # The records that are not complete yet, and the length it takes to go on with them.
        self._buffer = bytearray()
        self._needed = 1
        # Both only while a response comes in more than one piece.
        self._builder: ResponseBuilder | None = None
        self._response: Response | None = None

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another request: nothing under way, nothing surplus."""
        return self.state is State.IDLE

    @property
    def head(self) -> Head | None:
        """The head of the response under way, once it is complete and while the body comes."""
        return self._builder.head if self._builder else None

    @property
    def bytes_held(self) -> int:
        """Bytes kept in memory for the response under way."""
        return len(self._buffer) + (self._builder.bytes_held if self._builder else 0)

    def start(self, on_body: Callable[[bytes], None] | None = None) -> None:
        """A request is on its way; its response may come.

        With `on_body` the body of a 2xx response is handed there as it arrives, in order, and
        `Response.body` stays empty; any other body is collected, so that an error page is not
        taken for the stream. LocalProtocolError unless the reader is reusable.
        """
        if self.state is not IDLE:
            raise LocalProtocolError("the connection cannot take another request")
        self.state = _AWAITED
        self._on_body = on_body
        self.bytes_seen = 0

    def close(self) -> None:
        """Take no more and call nobody any more; what was collected is dropped."""
        self.state = State.CLOSED
        self._buffer = bytearray()
        self._builder = self._response = self._on_body = None

    def feed(self, data: bytes) -> Response | None:
        """Take what has arrived; the response once END_REQUEST is there with its padding.

        Whatever comes behind a response is dropped, and the reader is then closed, not reusable.
        Raises RemoteProtocolError (also for data that nobody asked for), ResponseTooLargeError or
        UpstreamError, with the `stderr` that has come; the reader is then closed.
        """
        total = len(data)
        # The usual response: one chunk with STDOUT, END_REQUEST and a head that is known.
        if self.state is _AWAITED and total >= _USUAL_MINIMUM and data.startswith(_STDOUT_START):
            size, padding = _read_sizes(data, _SIZES_OFFSET)
            stop = HEADER_SIZE + size
            end = stop + padding
            if total == end + _END_RECORD_SIZE and data.startswith(_USUAL_END, end):
                blank = data.find(_BLANK_LINE, HEADER_SIZE, stop)
                head = self._find_head(data[HEADER_SIZE:blank]) if blank > 0 else None
                # Whatever has to be judged or handed on in pieces takes the general way.
                if head is not None and size <= self._max_response and self._on_body is None:
                    status, headers, content_length, bodiless = head
                    if content_length < 0:
                        self.bytes_seen = total
                        self.state = IDLE
                        body = b"" if bodiless else data[blank + 4 : stop]
                        return _new(Response, (status, headers, body, b"", 0, 0))
        return self._feed(data)

    def feed_eof(self) -> Response | None:
        """The peer has ended its side; the reader is closed.

        Returns the response if only padding is missing, None if none was under way, and raises
        UpstreamDiedError otherwise.
        """
        response = self._response
        under_way = self.state not in (State.IDLE, State.CLOSED)
        stderr = self._builder.stderr if self._builder else b""
        self.close()
        if under_way and response is None:
            error = UpstreamDiedError(self.bytes_seen)
            error.stderr = stderr
            raise error
        return response

    def _feed(self, data: bytes) -> Response | None:
        if not data:
            return None
        if self.state is State.CLOSED:
            raise LocalProtocolError("the connection is closed")
        if self.state is State.IDLE:
            self.close()
            raise RemoteProtocolError("data that nobody asked for, bytes", len(data))
        if self._builder is None:
            self._builder = ResponseBuilder(self._heads, self._max_response, self._on_body)
            self.state = State.READING
        self.bytes_seen += len(data)
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return None
            data, self._buffer = bytes(self._buffer), bytearray()
        builder = self._builder
        try:
            return self._read_records(data, builder)
        except FastCGIError as error:
            error.stderr = builder.stderr
            self.close()
            raise

    def _read_records(self, data: bytes, builder: ResponseBuilder) -> Response | None:
        """Take all whole records at the front of `data` and keep what is left in the buffer."""
        start, total = 0, len(data)
        while start < total and self.state is not State.CLOSED:
            if data[start] != VERSION:
                raise RemoteProtocolError("the peer does not speak FastCGI; version", data[start])
            content = start + HEADER_SIZE
            if content > total:
                self._keep(data, start, HEADER_SIZE)
                break
            header = unpack_header(data, start)
            state = self._judge(header)
            stop = content + header.content_size
            end = stop + header.padding_size
            if state is IDLE:
                # Complete before its padding is: good enough if the peer ends there.
                if stop > total:
                    self._keep(data, start, stop - start)
                    break
                self._response = _end(builder, *unpack_end_request(data, content))
            if end > total:
                self._keep(data, start, end - start)
                break
            if state is IDLE:
                return self._finish(surplus=end < total)
            self._take(header, data[content:stop], builder, state)
            start = end
        return None

    def _take(self, header: Header, content: bytes, builder: ResponseBuilder, state: State) -> None:
        # The state first: whoever is handed the body may close the reader.
        ends_stdout = not header.content_size and not header.padding_size
        if header.type == RecordType.STDERR:
            self.state = state
            builder.add_stderr(content)
        else:
            self.state = State.STDOUT_ENDED if ends_stdout else state
            builder.add_stdout(content)

    def _judge(self, header: Header) -> State:
        """The state after this record; RemoteProtocolError if it has no place here."""
        if header.request_id != REQUEST_ID:
            raise RemoteProtocolError("a record of a request not made, id", header.request_id)
        state = _NEXT.get((self.state, header.type))
        if state is None:
            raise RemoteProtocolError("a record that has no place here, type", header.type)
        if state is IDLE and header.content_size != END_REQUEST_SIZE:
            raise RemoteProtocolError("END_REQUEST of a false length", header.content_size)
        return state

    def _keep(self, data: bytes, start: int, needed: int) -> None:
        """Keep the unfinished record at `start`, to go on when `needed` bytes of it are there."""
        self._buffer = bytearray(memoryview(data)[start:])
        self._needed = needed

    def _finish(self, *, surplus: bool) -> Response | None:
        response = self._response
        self._builder = self._response = self._on_body = None
        self.state = State.CLOSED if surplus else IDLE
        return response


def _end(builder: ResponseBuilder, app_status: int, protocol_status: int) -> Response:
    """What END_REQUEST makes of the response (FastCGI specification, 5.5)."""
    if protocol_status == ProtocolStatus.REQUEST_COMPLETE:
        return builder.finish(app_status)
    # Nothing written is proof for a status that says why it was not begun, for no other.
    known = protocol_status <= ProtocolStatus.UNKNOWN_ROLE
    executed = Executed.NEVER if known and not builder.begun else Executed.MAYBE
    if protocol_status in (ProtocolStatus.OVERLOADED, ProtocolStatus.CANT_MPX_CONN):
        raise UpstreamOverloadedError(protocol_status, executed)
    raise UpstreamRefusedError(protocol_status, executed)
