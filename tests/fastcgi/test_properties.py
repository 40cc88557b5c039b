"""What holds for any bytes, any splits and any values."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcgi import params, records
from fastcgi.errors import FastCGIError, LocalProtocolError, RemoteProtocolError
from fastcgi.head import MAX_HEAD, HeadCache, find_head_end, parse_head
from fastcgi.protocol import ResponseReader, State
from fastcgi.records import MAX_CONTENT, RecordType, encode_record
from fastcgi.responder import Request, RequestReader, encode_end, encode_stderr, encode_stdout
from fastcgi.response import MAX_STDERR, Response, ResponseBuilder

LIMIT = 3000

pairs = st.lists(
    st.tuples(
        st.binary(max_size=300).map(lambda name: name.replace(b"\0", b"0")),
        st.binary(max_size=300).map(lambda value: value.replace(b"\0", b"0")),
    ),
    max_size=20,
)
small = st.integers(0, 255)
any_record = st.builds(
    encode_record,
    st.one_of(st.sampled_from([3, 6, 7]), small),
    st.one_of(
        st.binary(max_size=40),
        st.just(b"A: 1\r\n\r\nbody"),
        st.just(bytes(8)),
        st.sampled_from([b"A", b"\r\n", b"x" * 1500, b"\0\0\0\0\1\0\0\0"]),
    ),
    request_id=st.sampled_from([1, 1, 1, 1, 0, 2]),
    padding_size=st.sampled_from([0, 0, 1, 255]),
)
hostile = st.lists(st.one_of(any_record, any_record, st.binary(max_size=20)), max_size=20).map(
    b"".join
)


@st.composite
def chunked(draw: st.DrawFn, data: st.SearchStrategy[bytes]) -> list[bytes]:
    whole = draw(data)
    cuts = draw(st.lists(st.integers(0, len(whole)), max_size=12))
    return [whole[start:end] for start, end in pairwise([0, *sorted(cuts), len(whole)])]


@given(chunked(hostile))
@settings(max_examples=400)
def test_any_bytes_in_any_chunks_raise_only_our_errors_and_keep_little(chunks: list[bytes]):
    reader = ResponseReader(max_response=LIMIT)
    reader.start()
    try:
        for chunk in chunks:
            response = reader.feed(chunk)
            # One unfinished record, and what a response may hold.
            assert reader.bytes_held <= 8 + MAX_CONTENT + 255 + MAX_HEAD + LIMIT + MAX_STDERR
            if response is not None:
                assert reader.bytes_held == 0
                if not reader.reusable:
                    return
                reader.start()
        reader.feed_eof()
    except FastCGIError:
        assert reader.bytes_held == 0
        assert not reader.reusable


@given(hostile)
@settings(max_examples=200)
def test_any_bytes_have_one_outcome_however_they_are_split(data: bytes):
    assert outcome([data]) == outcome([data[at : at + 1] for at in range(len(data))])


def outcome(chunks: list[bytes]) -> tuple[object, ...]:
    """The first result of a reader, and whether nothing at all was taken for a result."""
    reader = ResponseReader(max_response=LIMIT, heads=HeadCache())
    reader.start()
    try:
        for chunk in chunks:
            response = reader.feed(chunk)
            if response is not None:
                return ("response", response)
        return ("end", reader.feed_eof())
    except FastCGIError as error:
        return (type(error), str(error), error.stderr, error.executed)


@st.composite
def stdouts(draw: st.DrawFn) -> tuple[bytes, Response]:
    """A script's output and the response it stands for, without STDERR."""
    status = draw(st.sampled_from([200, 201, 404, 500]))
    names = st.from_regex(r"[xX]-[A-Za-z0-9-]{1,10}", fullmatch=True)
    values = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=30)
    headers = draw(st.lists(st.tuples(names, values), max_size=8))
    lines = [f"{name}: {value}".encode() for name, value in headers]
    lines.insert(draw(st.integers(0, len(lines))), b"Status: %d" % status)
    ends = st.sampled_from([b"\r\n", b"\n"])
    head = b"".join(line + draw(ends) for line in lines) + draw(ends)
    body = draw(st.binary(max_size=LIMIT))
    expected = tuple((name.lower(), value) for name, value in headers)
    return head + body, Response(status, expected, body)


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, Response]:
    """An honest answer in any records, and the response it stands for."""
    stdout, response = draw(stdouts())
    cuts = sorted(draw(st.lists(st.integers(0, len(stdout)), max_size=5)))
    parts, noise = [], b""
    for start, end in pairwise([0, *cuts, len(stdout)]):
        parts.append(encode_stdout(stdout[start:end], padding_size=draw(small)))
        stderr = draw(st.binary(max_size=20))
        parts.append(encode_stderr(stderr, padding_size=draw(small)))
        noise += stderr
    app_status = draw(st.integers(0, 2**32 - 1))
    parts.append(
        encode_end(app_status, reserved=draw(st.binary(min_size=3, max_size=3)), padding_size=3)
    )
    return b"".join(parts), response._replace(stderr=noise, app_status=app_status)


@given(answers(), st.data())
def test_an_answer_split_in_any_way_gives_its_response(
    answer: tuple[bytes, Response], data: st.DataObject
):
    encoded, expected = answer
    chunks = data.draw(chunked(st.just(encoded)))
    reader = ResponseReader(max_response=LIMIT)
    reader.start()
    responses = [response for chunk in chunks if (response := reader.feed(chunk)) is not None]
    assert responses == [expected]
    assert reader.state is State.IDLE
    assert reader.bytes_seen == len(encoded)


@given(st.lists(answers(), min_size=1, max_size=3), st.data())
def test_answers_on_one_connection_do_not_touch_each_other(
    exchanges: list[tuple[bytes, Response]], data: st.DataObject
):
    reader = ResponseReader(max_response=LIMIT)
    for encoded, expected in exchanges:
        reader.start()
        chunks = data.draw(chunked(st.just(encoded)))
        assert [response for chunk in chunks if (response := reader.feed(chunk))] == [expected]


@given(answers(), st.data())
def test_a_streamed_answer_has_the_same_body(answer: tuple[bytes, Response], data: st.DataObject):
    encoded, expected = answer
    streamed: list[bytes] = []
    reader = ResponseReader(max_response=LIMIT)
    reader.start(streamed.append)
    chunks = data.draw(chunked(st.just(encoded)))
    (response,) = [response for chunk in chunks if (response := reader.feed(chunk))]
    assert b"".join(streamed) + response.body == expected.body
    assert response._replace(body=expected.body) == expected


class CountingReader(ResponseReader):
    """Counts how many bytes are looked at, those looked at twice counted twice."""

    looked_at = 0

    def _read_records(self, data: bytes, builder: ResponseBuilder) -> Response | None:
        self.looked_at += len(data)
        return super()._read_records(data, builder)


@pytest.mark.parametrize("content_size", [1, 100, 60_000])
@pytest.mark.parametrize("size", [1, 7, 5000])
def test_the_work_grows_with_the_bytes_not_with_the_chunks(content_size: int, size: int):
    """Each byte of content is looked at once, each of a header once more for every part of it."""
    content = b"\r\n" + b"x" * content_size
    answer = encode_stdout(content) * (120_000 // len(content)) + encode_end()
    reader = CountingReader(max_response=200_000)
    reader.start()
    for start in range(0, len(answer), size):
        reader.feed(answer[start : start + size])
    assert reader.reusable
    assert reader.looked_at <= 4 * len(answer)


@given(pairs)
def test_params_survive_encoding(given_pairs: list[tuple[bytes, bytes]]):
    assert params.decode(params.encode(given_pairs)) == given_pairs


@given(st.binary(max_size=600))
def test_any_block_is_decoded_or_refused(block: bytes):
    try:
        decoded = params.decode(block)
    except RemoteProtocolError:
        try:
            list(params.split(block))
        except LocalProtocolError:
            return
        raise AssertionError("split took what decode refused") from None
    assert b"".join(params.split(block)) == block
    assert sum(len(name) + len(value) for name, value in decoded) <= len(block)


@given(
    st.lists(st.tuples(st.integers(1, 400), st.integers(0, 30_000)), max_size=30),
)
def test_a_block_is_split_into_whole_pairs_that_fit_records(sizes: list[tuple[int, int]]):
    given_pairs = [(b"N" * name, b"v" * value) for name, value in sizes]
    pieces = list(params.split(params.encode(given_pairs)))
    assert [pair for piece in pieces for pair in params.decode(piece)] == given_pairs
    assert all(0 < len(piece) <= MAX_CONTENT for piece in pieces)
    # No record that its neighbour's first pair would have fitted.
    for piece, following in pairwise(pieces):
        name, value = params.decode(following)[0]
        assert len(piece) + len(params.encode([(name, value)])) > MAX_CONTENT


@given(st.lists(pairs, max_size=4), st.binary(max_size=1000), st.booleans(), st.data())
def test_a_request_survives_the_wire(
    blocks: list[list[tuple[bytes, bytes]]], body: bytes, keep: bool, data: st.DataObject
):
    encoded = records.encode_request(tuple(map(params.encode, blocks)), body, keep=keep)
    reader = RequestReader()
    requests = [
        request for chunk in data.draw(chunked(st.just(encoded))) for request in reader.feed(chunk)
    ]
    expected = {
        name.decode("utf-8", "surrogateescape"): value.decode("utf-8", "surrogateescape")
        for block in blocks
        for name, value in block
    }
    assert requests == [Request(expected, body, keep, 1)]


@given(chunked(hostile))
def test_any_bytes_are_requests_or_refused(chunks: list[bytes]):
    reader = RequestReader()
    try:
        for chunk in chunks:
            reader.feed(chunk)
    except RemoteProtocolError:
        pass


@given(
    st.integers(0, 255),
    st.binary(max_size=300),
    st.integers(0, 65535),
    small,
)
def test_a_record_survives_encoding(
    record_type: int, content: bytes, request_id: int, padding_size: int
):
    encoded = encode_record(record_type, content, request_id=request_id, padding_size=padding_size)
    assert len(encoded) == 8 + len(content) + padding_size
    assert records.decode_records(bytearray(encoded)) == [
        records.Record(record_type, request_id, content, padding_size)
    ]


head_bytes = st.lists(
    st.sampled_from([b"A", b":", b" ", b"\r", b"\n", b"\r\n", b"A: 1", b"Status: 200", b"\0"]),
    max_size=30,
).map(b"".join)


@given(head_bytes)
@settings(max_examples=400)
def test_the_end_of_any_head_is_found_where_the_lines_say(data: bytes):
    assert find_head_end(data) == next(head_ends(data), -1)
    for searched in range(len(data)):
        if find_head_end(data[:searched]) == -1:
            assert find_head_end(data, searched) == find_head_end(data)


def head_ends(data: bytes) -> Iterator[int]:
    """Where blank lines end, by reading line after line."""
    position = 0
    for line in data.splitlines(keepends=True) if b"\r" not in data else split_lf(data):
        position += len(line)
        if line in (b"\n", b"\r\n"):
            yield position


def split_lf(data: bytes) -> list[bytes]:
    return [line + b"\n" for line in data.split(b"\n")[:-1]]


@given(head_bytes)
def test_a_kept_head_is_the_parsed_head(data: bytes):
    end = find_head_end(data)
    if end < 0:
        return
    cache = HeadCache()
    try:
        expected = parse_head(data[:end])
    except FastCGIError:
        expected = None
    for _ in range(2):
        try:
            assert cache.parse(data[:end]) == expected
        except FastCGIError:
            assert expected is None


def test_the_record_types_are_those_of_the_specification():
    assert [kind.value for kind in RecordType] == list(range(1, 12))
