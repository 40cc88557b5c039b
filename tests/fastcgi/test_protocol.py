from collections.abc import Callable

import pytest

from fastcgi.errors import FastCGIError, LocalProtocolError, MalformedResponseError
from fastcgi.head import HeadCache
from fastcgi.protocol import ResponseReader, State
from fastcgi.records import RecordType, encode_record
from fastcgi.responder import encode_answer, encode_end, encode_stderr, encode_stdout
from fastcgi.response import Response
from tests.fastcgi.wire import ANSWER, HEAD, HEADERS, LIMIT, RESPONSE, STDOUT, started


def states_while_reading(chunks: list[bytes]) -> list[State]:
    reader = ResponseReader(max_response=LIMIT, heads=HeadCache())
    states = [reader.state]
    reader.start()
    for chunk in chunks:
        states.append(reader.state)
        reader.feed(chunk)
    return [*states, reader.state]


def test_a_reader_goes_from_idle_to_idle():
    assert states_while_reading([ANSWER]) == [State.IDLE, State.AWAITED, State.IDLE]
    assert states_while_reading([ANSWER[:9], ANSWER[9:40], ANSWER[40:]]) == [
        State.IDLE,
        State.AWAITED,
        State.READING,
        State.READING,
        State.IDLE,
    ]


def test_a_reader_is_reusable_between_requests_only():
    reader = ResponseReader(max_response=LIMIT, heads=HeadCache())
    for split in (0, 9, 50):
        assert reader.reusable
        reader.start()
        assert not reader.reusable
        reader.feed(ANSWER[:split])
        assert not reader.reusable
        assert reader.feed(ANSWER[split:]) == RESPONSE
        assert reader.bytes_held == 0


def test_bytes_seen_counts_this_response_only():
    reader = started()
    reader.feed(ANSWER)
    reader.start()
    assert reader.bytes_seen == 0
    reader.feed(ANSWER[:5])
    assert reader.bytes_seen == 5


def test_a_second_request_is_refused_while_one_is_under_way():
    reader = started()
    with pytest.raises(LocalProtocolError):
        reader.start()
    assert reader.feed(ANSWER) == RESPONSE


def test_no_data_is_no_event():
    reader = ResponseReader(max_response=LIMIT)
    assert reader.feed(b"") is None
    assert reader.reusable
    reader.start()
    assert reader.feed(b"") is None
    assert reader.state is State.AWAITED


def test_stdout_ended_takes_only_stderr_and_the_end():
    reader = started()
    reader.feed(encode_stdout(STDOUT) + encode_record(RecordType.STDOUT))
    assert reader.state is State.STDOUT_ENDED
    reader.feed(encode_stderr(b"late") + encode_record(RecordType.STDERR))
    assert reader.state is State.STDOUT_ENDED
    assert reader.feed(encode_end()) == RESPONSE._replace(stderr=b"late")


def test_an_empty_stderr_record_ends_nothing():
    reader = started()
    reader.feed(encode_record(RecordType.STDERR))
    assert reader.state is State.READING
    assert reader.feed(ANSWER) == RESPONSE


def test_a_closed_reader_takes_nothing():
    reader = started()
    reader.feed(ANSWER[:50])
    reader.close()
    assert reader.bytes_held == 0
    with pytest.raises(LocalProtocolError):
        reader.feed(ANSWER[50:])
    with pytest.raises(LocalProtocolError):
        reader.start()
    assert reader.feed_eof() is None


def test_an_error_carries_the_stderr_that_explains_it():
    reader = started()
    reader.feed(encode_stderr(b"PHP Fatal error: "))
    with pytest.raises(MalformedResponseError) as caught:
        reader.feed(encode_stderr(b"Uncaught") + encode_end())
    assert caught.value.stderr == b"PHP Fatal error: Uncaught"


class TestTheUsualResponse:
    """One chunk, a known head: read by a way of its own, which must not be seen from outside."""

    @pytest.mark.parametrize(
        "answer",
        [
            ANSWER,
            encode_answer(HEAD),
            encode_answer(STDOUT, padding_size=7),
            encode_answer(HEAD + b"\r\n\r\n" + b"body"),
            encode_answer(b"Status: 204\r\n\r\nbody"),
            encode_answer(b"Content-Length: 4\r\n\r\nbody"),
            encode_answer(b"A: 1\n\nbody\r\n\r\n"),
            encode_answer(b"A: 1\r\n\nbody\r\n\r\n"),
            encode_answer(b"\r\nA: 1\r\n\r\n"),
            encode_answer(b"\n\nA: 1\r\n\r\n"),
            encode_answer(b"\r\n"),
            encode_answer(STDOUT, app_status=1),
            encode_answer(b""),
            encode_answer(b"", padding_size=255),
            encode_answer(b"no head"),
            encode_answer(b"A: 1\r\r\n\r\n"),
            encode_answer(STDOUT, b"stderr"),
            encode_stdout(STDOUT) + encode_end(protocol_status=2),
            encode_stdout(STDOUT) + encode_end(request_id=2),
            encode_stdout(STDOUT) + encode_end(reserved=b"abc"),
            ANSWER + b"\0",
            ANSWER + ANSWER,
            encode_stdout(STDOUT),
            encode_stdout(STDOUT) + encode_record(RecordType.END_REQUEST, bytes(9)),
        ],
    )
    def test_it_is_read_like_any_other(self, answer: bytes):
        known = HeadCache()
        for head in (HEAD, b"Status: 204\r\n\r\n", b"Content-Length: 4\r\n\r\n", b"A: 1\r\n\r\n"):
            known.parse(head)
        assert outcome(answer, len(answer), known) == outcome(answer, 1, HeadCache())

    def test_a_body_beyond_the_limit_is_not_taken(self):
        known = HeadCache()
        known.parse(HEAD)
        for limit in (len(STDOUT), len(STDOUT) - len(HEAD), len(STDOUT) - len(HEAD) - 1):
            assert outcome(ANSWER, len(ANSWER), known, limit) == outcome(
                ANSWER, 1, HeadCache(), limit
            )


def outcome(
    answer: bytes, size: int, heads: HeadCache, limit: int = LIMIT
) -> tuple[object, State, int]:
    """What a reader makes of it in chunks of that size: result, state, bytes seen."""
    reader = ResponseReader(max_response=limit, heads=heads)
    reader.start()
    result: object = None
    for start in range(0, len(answer), size):
        try:
            result = reader.feed(answer[start : start + size])
        except FastCGIError as error:
            return (type(error), str(error), error.stderr), reader.state, 0
        if result is not None:
            # Surplus bytes are only seen where they come in the same chunk.
            surplus = start + size < len(answer)
            return result, State.CLOSED if surplus else reader.state, 0
    return result, reader.state, reader.bytes_seen


class TestStreaming:
    def test_the_body_is_handed_over_as_its_records_come(self):
        chunks: list[bytes] = []
        reader = streaming(chunks.append)
        assert reader.feed(encode_stdout(HEAD)) is None
        assert chunks == []
        assert reader.feed(encode_stdout(b"line 1\n")) is None
        assert chunks == [b"line 1\n"]
        assert reader.bytes_held == 0
        assert reader.feed(encode_stdout(b"line 2\n") + encode_end()) == Response(200, HEADERS, b"")
        assert chunks == [b"line 1\n", b"line 2\n"]
        assert reader.reusable

    def test_a_response_in_one_chunk_with_a_known_head_is_streamed_too(self):
        chunks: list[bytes] = []
        reader = streaming(chunks.append)
        for _ in range(2):
            assert reader.feed(ANSWER) == RESPONSE._replace(body=b"")
            reader.start(chunks.append)
        assert chunks == [RESPONSE.body] * 2

    def test_the_next_response_is_not_streamed_by_itself(self):
        chunks: list[bytes] = []
        reader = streaming(chunks.append)
        reader.feed(ANSWER)
        reader.start()
        assert reader.feed(ANSWER) == RESPONSE
        assert chunks == [RESPONSE.body]

    def test_whoever_takes_the_body_may_close_the_reader(self):
        chunks: list[bytes] = []

        def take(chunk: bytes) -> None:
            chunks.append(chunk)
            reader.close()

        reader = streaming(take)
        data = encode_stdout(HEAD + b"one") + encode_stdout(b"two") + encode_end()
        assert reader.feed(data) is None
        assert chunks == [b"one"]
        assert reader.state is State.CLOSED
        assert reader.bytes_held == 0


def streaming(on_body: Callable[[bytes], None]) -> ResponseReader:
    reader = ResponseReader(max_response=LIMIT, heads=HeadCache())
    reader.start(on_body)
    return reader
