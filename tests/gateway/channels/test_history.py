import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.history import History
from gateway.channels.publication import Message, Position
from gateway.errors import UnrecoverablePositionError


def messages(*words: str) -> list[Message]:
    return [Message(word.encode()) for word in words]


def test_resume_past_the_oldest_kept_publication_is_refused() -> None:
    """The gap cannot be filled, so the client is told instead of silently skipping it."""
    history = History("room", "e", size=2, ttl=60)
    start = history.position
    history.extend(messages("one", "two", "three"), 0)

    with pytest.raises(UnrecoverablePositionError):
        history.since(start, 0)


def test_what_followed_a_position_is_whole_and_in_order() -> None:
    history = History("room", "e", size=3, ttl=60)
    history.extend(messages("one", "two", "three", "four"), 0)

    found = history.since(Position(1, "e"), 0)

    assert [each.message.data for each in found] == [b"two", b"three", b"four"]
    assert [each.position for each in found] == [Position(n, "e") for n in (2, 3, 4)]


@pytest.mark.parametrize("position", [Position(1, "other"), Position(3, "e"), Position(-1, "e")])
def test_a_position_that_never_was_is_refused(position: Position) -> None:
    history = History("room", "e", size=5, ttl=60)
    history.extend(messages("one", "two"), 0)

    with pytest.raises(UnrecoverablePositionError):
        history.since(position, 0)


def test_time_takes_the_oldest_and_leaves_the_offsets() -> None:
    history = History("room", "e", size=5, ttl=60)
    history.extend(messages("one"), 0)
    history.extend(messages("two"), 30)

    assert [each.message.data for each in history.newest(None, 60)] == [b"two"]
    assert history.since(Position(1, "e"), 60)
    with pytest.raises(UnrecoverablePositionError):
        history.since(Position(0, "e"), 60)
    assert history.newest(None, 90) == ()
    assert history.since(Position(2, "e"), 90) == ()
    assert history.append(Message(b"three"), 90).position == Position(3, "e")


def test_a_smaller_size_forgets_the_oldest() -> None:
    history = History("room", "e", size=5, ttl=60)
    history.extend(messages("one", "two", "three"), 0)

    history.resize(size=1, ttl=60)

    assert [each.message.data for each in history.newest(None, 0)] == [b"three"]


@given(
    st.integers(1, 8),
    st.lists(st.tuples(st.sampled_from(["publish", "wait"]), st.integers(1, 5)), max_size=40),
    st.integers(-3, 60),
)
def test_since_is_everything_or_refused(size, steps, offset) -> None:
    history, now, times = History("room", "e", size=size, ttl=10), 0.0, []
    for step, count in steps:
        if step == "wait":
            now += count
        else:
            history.extend(messages(*"x" * count), now)
            times += [now] * count
    wanted = range(offset + 1, len(times) + 1)

    try:
        found = [each.position.offset for each in history.since(Position(offset, "e"), now)]
    except UnrecoverablePositionError:
        expired = any(n < 1 or now - times[n - 1] >= 10 for n in wanted)
        assert expired or len(wanted) > size or offset > len(times) or offset < 0
    else:
        assert found == list(wanted)
        assert len(found) <= size
