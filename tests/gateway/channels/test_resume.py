import pytest

from gateway.channels import resume
from gateway.channels.broker import Page
from gateway.channels.publication import NOWHERE, Kind, Message, Position, Publication
from gateway.channels.resume import Held, Joined, merge


def publications(*offsets: int, epoch: str = "e") -> tuple[Publication, ...]:
    return tuple(Publication("room", Message(b"x"), Kind.TEXT, Position(n, epoch)) for n in offsets)


def at(offset: int, epoch: str = "e") -> Position:
    return Position(offset, epoch)


def offsets(joined: Joined) -> list[int]:
    return [each.position.offset for each in joined.publications]


def test_page_and_held_are_merged_by_offset() -> None:
    page = Page(publications(3, 4, 5), at(5))

    joined = merge(at(4), page, publications(3, 4, 5, 6, 7), at(2))

    assert joined.recovered
    assert offsets(joined) == [3, 4, 5, 6, 7]
    assert joined.position == at(7)


def test_a_first_join_gets_what_was_published_after_the_broker_let_it_in() -> None:
    joined = merge(at(4), None, publications(3, 4, 5), None)

    assert offsets(joined) == [5]
    assert joined.position == at(5)


@pytest.mark.parametrize(
    ("page", "held"),
    [
        (Page((), at(9), recovered=False), publications(10)),
        (Page(publications(3, 4), at(4)), publications(6)),
        (Page(publications(3, 4), at(4)), None),
        (Page(publications(3, 4), at(4)), publications(1, epoch="f")),
        (Page(publications(4), at(4)), ()),
        (None, ()),
    ],
    ids=["refused", "hole", "too much held", "new life", "page with a hole", "no page"],
)
def test_what_is_not_whole_is_nothing(page, held) -> None:
    joined = merge(at(4), page, held, at(2))

    assert not joined.recovered
    assert joined.publications == ()


def test_without_history_a_resume_is_refused_and_a_join_gets_what_was_held() -> None:
    held = (Publication("room", Message(b"x"), Kind.TEXT, NOWHERE),)

    assert merge(NOWHERE, None, held, None) == Joined(NOWHERE, publications=held)
    assert merge(NOWHERE, None, held, at(1)) == Joined(NOWHERE, recovered=False)
    assert merge(NOWHERE, None, None, None) == Joined(NOWHERE, recovered=False)


def test_what_is_held_is_bounded_in_number_and_bytes(monkeypatch) -> None:
    monkeypatch.setattr(resume, "HELD_PUBLICATIONS", 3)
    monkeypatch.setattr(resume, "HELD_BYTES", 10)
    held = Held()
    for publication in publications(1, 2, 3):
        held.add(publication)
    early, late = 0, held.mark

    assert held.since(early) == publications_of(held)
    held.add(publications(4)[0])
    assert held.since(early) is None
    late_ones = held.since(late)
    assert late_ones is not None
    assert [each.position.offset for each in late_ones] == [4]
    held.add(Publication("room", Message(b"x" * 10), Kind.TEXT, at(5)))
    assert held.since(late) is None
    assert held.since(held.mark) == ()


def publications_of(held: Held) -> tuple[Publication, ...]:
    return tuple(held._kept or ())


def test_a_member_is_not_told_of_two_lives_as_if_they_were_one() -> None:
    """A late publication of the old life has passed since the broker answered from the new one."""
    fresh = Joined(at(4, "new"), publications=publications(3, 4, epoch="new"))

    joined = fresh.until(admitted=at(7, "old"), here=at(8, "old"))

    assert joined == Joined(at(8, "old"), recovered=False)


def test_a_member_gets_what_came_before_it_was_let_in_and_no_more() -> None:
    fresh = Joined(at(5), publications=publications(2, 3, 4, 5))

    joined = fresh.until(admitted=at(3), here=at(5))

    assert offsets(joined) == [2, 3]
    assert joined.position == at(5)
