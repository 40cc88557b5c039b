"""What the tests of the wire share: a usual response, and ways to have it read."""

from typing import TypeVar

import pytest

from fastcgi import records
from fastcgi.errors import (
    FastCGIError,
    UpstreamDiedError,
)
from fastcgi.head import HeadCache
from fastcgi.protocol import ResponseReader, State
from fastcgi.responder import (
    Request,
    RequestReader,
    encode_answer,
)
from fastcgi.response import Response

HEAD = b"X-Powered-By: PHP/8.2\r\nContent-type: application/json\r\n\r\n"
HEADERS = (("x-powered-by", "PHP/8.2"), ("content-type", "application/json"))
STDOUT = HEAD + b'{"answer":42}'
ANSWER = encode_answer(STDOUT)
RESPONSE = Response(200, HEADERS, b'{"answer":42}')
LIMIT = 1024 * 1024


def started(limit: int = LIMIT) -> ResponseReader:
    reader = ResponseReader(max_response=limit, heads=HeadCache())
    reader.start()
    return reader


def read(*chunks: bytes, limit: int = LIMIT) -> Response | None:
    """The response to one request, which must come with the last chunk."""
    reader = started(limit)
    for chunk in chunks[:-1]:
        assert reader.feed(chunk) is None
    return reader.feed(chunks[-1])


def read_stdout(stdout: bytes) -> Response:
    response = read(encode_answer(stdout))
    assert response is not None
    return response


E = TypeVar("E", bound=FastCGIError)


def feed_all(reader: ResponseReader, data: bytes, size: int) -> None:
    for start in range(0, len(data), size):
        assert reader.feed(data[start : start + size]) is None


def dropped(data: bytes, error: type[E]) -> E:
    """The error, which must be the same in one chunk and byte by byte, and close the reader."""
    errors = []
    for size in (len(data), 1):
        reader = started()
        with pytest.raises(error) as caught:
            feed_all(reader, data, size)
        assert reader.state is State.CLOSED
        assert not reader.reusable
        assert reader.bytes_held == 0
        errors.append(caught.value)
    assert type(errors[0]) is type(errors[1])
    assert str(errors[0]) == str(errors[1])
    return errors[0]


def end_of_input(data: bytes) -> UpstreamDiedError:
    reader = started()
    assert reader.feed(data) is None
    with pytest.raises(UpstreamDiedError) as caught:
        reader.feed_eof()
    assert not reader.reusable
    return caught.value


def request(
    *blocks: bytes, body: bytes = b"", keep: bool = True
) -> tuple[list[Request], list[records.Record]]:
    """The request as a responder and as records, after checks that hold for every request."""
    data = records.encode_request(blocks, body, keep=keep)
    assert data == records.encode_begin(keep=keep) + records.encode_after_begin(blocks, body)
    raw = records.decode_records(bytearray(data))
    assert {(record.request_id, record.padding_size) for record in raw} == {(1, 0)}
    whole = RequestReader().feed(data)
    if len(data) < 5000:
        reader = RequestReader()
        assert [
            found for at in range(len(data)) for found in reader.feed(data[at : at + 1])
        ] == whole
    return whole, raw
