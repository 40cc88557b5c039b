import pytest

from fastcgi.errors import MalformedResponseError
from fastcgi.head import MAX_HEAD, Head, HeadCache, find_head_end, parse_head


@pytest.mark.parametrize("head", [b"A: 1\r\n\r\n", b"A: 1\n\n", b"A: 1\n\r\n", b"\r\n", b"\n"])
def test_the_end_of_the_head_is_found_wherever_the_last_search_ended(head: bytes):
    data = head + b"body\n\n"
    assert find_head_end(data) == len(head)
    for seen in range(len(head)):
        assert find_head_end(data[:seen]) == -1
        assert find_head_end(data, seen) == len(head)


def test_a_blank_line_is_not_taken_from_the_middle_of_a_search():
    """A search that starts late must not take its start for the start of the head."""
    data = b"A: 1\r\nB: 2\r\n"
    for searched in range(len(data) + 1):
        assert find_head_end(data, searched) == -1


def test_the_search_gives_up_at_the_limit():
    assert find_head_end(b"x" * (MAX_HEAD - 1)) == -1
    with pytest.raises(MalformedResponseError):
        find_head_end(b"x" * MAX_HEAD)
    with pytest.raises(MalformedResponseError):
        find_head_end(b"x" * (MAX_HEAD - 1) + b"\n\n")


def test_names_are_in_lower_case_and_values_stripped_in_their_order():
    head = parse_head(b"X-B:  one \r\nx-a:\r\nX-B: two:three\r\n\r\n")
    assert head == Head(200, (("x-b", "one"), ("x-a", ""), ("x-b", "two:three")))


def test_values_are_utf8_or_else_latin1():
    head = parse_head("A: größe\r\n".encode() + "B: größe\r\n".encode("latin-1") + b"\r\n")
    assert head.headers == (("a", "größe"), ("b", "größe"))


@pytest.mark.parametrize(
    "head",
    [b"A: 1\r\nB: 2\r\n\r\n", b"A: 1\nB: 2\n\n", b"A: 1\r\nB: 2\r\n\n", b"A: 1\r\nB: 2\n\r\n"],
)
def test_a_head_is_parsed_once(head: bytes):
    cache = HeadCache()
    parsed = cache.parse(head)
    assert cache.parse(head) is parsed
    assert cache.find(head.rstrip()) is parsed
    assert len(cache) == 1


@pytest.mark.parametrize(
    "head",
    [
        b"\r\n",
        b"A: 1\r\nSet-Cookie: session=secret\r\n\r\n",
        b"A: " + b"x" * 1022 + b"\r\n\r\n",
    ],
)
def test_empty_secret_and_long_heads_are_not_kept(head: bytes):
    cache = HeadCache()
    assert cache.parse(head) == cache.parse(head)
    assert len(cache) == 0


def test_a_malformed_head_is_not_kept():
    cache = HeadCache()
    with pytest.raises(MalformedResponseError):
        cache.parse(b"A: 1\r\r\n\r\n")
    assert len(cache) == 0


def test_the_cache_is_bounded():
    cache = HeadCache()
    for number in range(1000):
        assert cache.parse(b"X-Id: %d\r\n\r\n" % number).headers == (("x-id", str(number)),)
        assert 0 < len(cache) <= 256
