import pytest

from gateway.channels.audience import Audience
from gateway.channels.lanes import Changes
from gateway.channels.publication import Kind, Message, Position, Publication


def publication(offset: int, epoch: str = "e", exclude: str = "") -> Publication:
    message = Message(str(offset).encode(), exclude=exclude)
    return Publication("room", message, Kind.TEXT, Position(offset, epoch))


def at(offset: int, epoch: str = "e") -> Position:
    return Position(offset, epoch)


@pytest.fixture
def audience() -> Audience:
    return Audience("room", Changes())


def test_what_passes_twice_is_delivered_once(audience, subscriber) -> None:
    one = subscriber()
    audience.admit(one, at(1))

    for offset in (1, 2, 2, 3, 1):
        audience.pass_on(publication(offset))

    assert one.heard == [b"2", b"3"]
    assert one.told == []


def test_what_never_came_is_told_before_what_follows(audience, subscriber) -> None:
    one = subscriber()
    audience.admit(one, at(1))
    one.at_delivery = lambda: one.told.append("heard")

    audience.pass_on(publication(4))
    audience.pass_on(publication(5))

    assert one.told == ["gap in room", "heard", "heard"]


def test_a_new_life_of_the_stream_is_a_gap(audience, subscriber) -> None:
    one = subscriber()
    audience.admit(one, at(1))

    audience.pass_on(publication(2, "f"))

    assert one.told == ["gap in room"]
    assert one.heard == [b"2"]


def test_a_newcomer_is_not_given_again_what_it_was_handed(audience, subscriber) -> None:
    """The broker answers faster than it delivers: the others still wait for 2 and 3."""
    old, new = subscriber("old"), subscriber("new")
    audience.admit(old, at(1))
    audience.admit(new, at(3))

    for offset in (2, 3, 4):
        audience.pass_on(publication(offset))

    assert old.heard == [b"2", b"3", b"4"]
    assert new.heard == [b"4"]
    assert old.told == new.told == []


def test_a_gap_is_told_to_a_newcomer_only_when_it_concerns_it(audience, subscriber) -> None:
    old, new = subscriber("old"), subscriber("new")
    audience.admit(old, at(1))
    audience.admit(new, at(3))

    audience.pass_on(publication(4))

    assert old.told == ["gap in room"]
    assert new.heard == old.heard == [b"4"]


def test_after_everybody_has_left_the_stream_may_have_gone_on(audience, subscriber) -> None:
    one = subscriber()
    audience.admit(one, at(1))
    audience.remove(one)

    audience.pass_on(publication(2))
    audience.admit(one, at(7))
    audience.pass_on(publication(8))

    assert one.heard == [b"8"]
    assert one.told == []
