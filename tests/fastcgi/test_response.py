import pytest

from fastcgi.errors import MalformedResponseError, ResponseTooLargeError
from fastcgi.head import HeadCache
from fastcgi.response import MAX_STDERR, Response, ResponseBuilder


def builder(limit: int = 1000, on_body=None) -> ResponseBuilder:
    return ResponseBuilder(HeadCache(), limit, on_body)


def test_a_header_is_found_by_its_first_occurrence():
    response = Response(200, (("a", "1"), ("b", "2"), ("a", "3")), b"")
    assert response.header("a") == "1"
    assert response.header("c") is None


def test_a_response_is_built_from_its_pieces():
    response = builder()
    assert not response.begun
    response.add_stdout(b"A: 1\r")
    assert response.begun
    response.add_stdout(b"\n\r\nbo")
    response.add_stderr(b"noise")
    response.add_stdout(b"dy")
    assert response.bytes_held == 9
    assert response.finish(3) == Response(200, (("a", "1"),), b"body", b"noise", 3)


def test_a_response_begins_with_anything_the_script_writes():
    response = builder()
    response.add_stderr(b"noise")
    assert response.begun
    empty_head = builder()
    empty_head.add_stdout(b"\r\n")
    assert empty_head.begun


def test_stderr_is_cut_at_its_limit_and_counted():
    response = builder()
    response.add_stdout(b"\r\n")
    for _ in range(3):
        response.add_stderr(b"x" * (MAX_STDERR - 10))
    assert len(response.stderr) == MAX_STDERR
    assert response.finish(0).stderr_discarded == 2 * MAX_STDERR - 30


def test_the_body_of_a_success_goes_to_the_stream():
    chunks: list[bytes] = []
    response = builder(on_body=chunks.append)
    response.add_stdout(b"A: 1\r\n\r\n")
    assert chunks == []
    response.add_stdout(b"one")
    response.add_stdout(b"two")
    assert chunks == [b"one", b"two"]
    assert response.bytes_held == 0
    assert response.finish(0) == Response(200, (("a", "1"),), b"")


def test_the_stream_begins_with_what_came_behind_the_head():
    chunks: list[bytes] = []
    builder(on_body=chunks.append).add_stdout(b"A: 1\r\n\r\none")
    assert chunks == [b"one"]


@pytest.mark.parametrize("status", [302, 404, 500])
def test_the_body_of_anything_else_is_collected_instead(status: int):
    """An error page must not be taken for the first part of the stream."""
    chunks: list[bytes] = []
    response = builder(on_body=chunks.append)
    response.add_stdout(b"Status: %d\r\n\r\npage" % status)
    assert chunks == []
    assert response.finish(0) == Response(status, (), b"page")


def test_a_drained_body_is_not_streamed():
    chunks: list[bytes] = []
    response = builder(on_body=chunks.append)
    response.add_stdout(b"Status: 204\r\n\r\nbody")
    assert chunks == []
    assert response.finish(0) == Response(204, (), b"")


def test_the_limit_holds_for_a_stream_as_well():
    response = builder(limit=5, on_body=lambda _chunk: None)
    response.add_stdout(b"\r\n")
    response.add_stdout(b"12345")
    with pytest.raises(ResponseTooLargeError):
        response.add_stdout(b"6")


def test_a_stream_of_a_false_length_is_malformed_at_its_end():
    response = builder(on_body=lambda _chunk: None)
    response.add_stdout(b"Content-Length: 5\r\n\r\nbody")
    with pytest.raises(MalformedResponseError):
        response.finish(0)
