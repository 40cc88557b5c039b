"""Replies in this process stay within their bounds."""

from fastcgi import Response
from gateway.cache.memory import MemoryStore
from gateway.clock import ManualClock


def reply(body: bytes = b"x") -> Response:
    return Response(200, (), body)


def test_a_reply_is_there_until_its_time_is_over() -> None:
    clock = ManualClock()
    store = MemoryStore(clock=clock.monotonic)
    store.put(b"a", reply(), 5)
    clock.advance(4.9)
    assert store.get(b"a") == reply()
    clock.advance(0.1)
    assert store.get(b"a") is None
    assert (len(store), store.bytes) == (0, 0)


def test_past_the_number_of_entries_the_longest_unused_goes() -> None:
    store = MemoryStore(max_entries=2)
    store.put(b"a", reply(), 5)
    store.put(b"b", reply(), 5)
    assert store.get(b"a")
    store.put(b"c", reply(), 5)
    assert [key for key in (b"a", b"b", b"c") if store.get(key)] == [b"a", b"c"]


def test_past_the_bytes_the_longest_unused_go_and_the_books_stay_right() -> None:
    store = MemoryStore(max_bytes=10_000)
    for number in range(100):
        store.put(b"%d" % number, reply(bytes(1000)), 5)
        store.put(b"%d" % number, reply(bytes(2000)), 5)
        assert store.bytes <= 10_000
    assert len(store) == 3
    assert all(store.get(b"%d" % number) for number in (97, 98, 99))


def test_what_is_larger_than_the_store_is_not_kept() -> None:
    store = MemoryStore(max_bytes=1000)
    store.put(b"a", reply(bytes(2000)), 5)
    assert (len(store), store.bytes) == (0, 0)
