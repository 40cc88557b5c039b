"""How much a client may send."""

from collections.abc import Awaitable, Callable

from hypothesis import given
from hypothesis import strategies as st

from gateway.sessions.limits import Bucket
from tests.fakes import House

Build = Callable[..., Awaitable[House]]


def test_a_burst_of_one_seconds_messages_is_allowed() -> None:
    bucket = Bucket(5, 100.0)

    assert [bucket.take(100.0) for _ in range(6)] == [True] * 5 + [False]


def test_what_was_spent_comes_back_with_time() -> None:
    bucket = Bucket(5, 100.0)
    for _ in range(5):
        bucket.take(100.0)

    assert not bucket.take(100.1)
    assert bucket.take(100.21)
    assert not bucket.take(100.21)


def test_a_rate_below_one_a_second_still_lets_one_through() -> None:
    bucket = Bucket(0.1, 0.0)

    assert bucket.take(0.0)
    assert not bucket.take(9.0)
    assert bucket.take(10.0)


@given(st.lists(st.floats(0, 0.5), max_size=200), st.integers(1, 20))
def test_never_more_than_the_rate_and_one_burst(pauses: list[float], rate: int) -> None:
    bucket, now, taken = Bucket(rate, 0.0), 0.0, 0
    for pause in pauses:
        now += pause
        taken += bucket.take(now)

    assert taken <= rate + now * rate + 1e-6


async def test_too_many_messages_get_one_error_then_the_close(build: Build) -> None:
    house = await build(client={"message_rate": "2/s"})
    client = await house.connect()

    client.say("1", "2", "3")
    assert client.last["error"]["code"] == 429
    assert client.last["error"]["type"] == "rate_limited"
    assert client.closed is None
    client.say("4")
    assert client.closed == (1008, "too many messages")
    assert len(house.pool.requests) == 1


async def test_who_slows_down_after_the_warning_goes_on(build: Build) -> None:
    house = await build(client={"message_rate": "2/s"})
    client = await house.connect()

    client.say("1", "2", "3")
    house.clock.advance(1.5)
    client.say("4", "5")
    assert client.closed is None
