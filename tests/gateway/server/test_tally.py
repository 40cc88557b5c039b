"""Who is inside, counted for all workers."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.server.tally import Tally


def test_the_gateway_is_full_whichever_worker_asks() -> None:
    tally = Tally()
    assert tally.enter("a", "1.1.1.1", most=2, most_of_address=None) == ""
    assert tally.enter("b", "2.2.2.2", most=2, most_of_address=None) == ""

    assert tally.enter("b", "3.3.3.3", most=2, most_of_address=None) == "full"

    tally.leave("a", "1.1.1.1")
    assert tally.enter("b", "3.3.3.3", most=2, most_of_address=None) == ""


def test_an_address_has_its_limit_at_all_workers_together() -> None:
    tally = Tally()
    assert tally.enter("a", "1.1.1.1", most=None, most_of_address=1) == ""

    assert tally.enter("b", "1.1.1.1", most=None, most_of_address=1) == "limited"
    assert tally.enter("b", "2.2.2.2", most=None, most_of_address=1) == ""


def test_the_dead_are_not_inside() -> None:
    tally = Tally()
    for _ in range(3):
        tally.enter("a", "1.1.1.1", most=None, most_of_address=None)
    tally.remove("a")

    assert tally.total == 0
    assert not tally.addresses


def test_leaving_without_having_entered_changes_nothing() -> None:
    tally = Tally()
    tally.enter("a", "1.1.1.1", most=None, most_of_address=None)
    tally.leave("b", "1.1.1.1")
    tally.leave("a", "2.2.2.2")

    assert tally.total == 1


workers, addresses = st.sampled_from("abc"), st.sampled_from("123")


@given(st.lists(st.tuples(st.sampled_from(["enter", "leave", "die", "say"]), workers, addresses)))
def test_the_sums_are_those_of_the_workers(steps) -> None:
    tally = Tally()
    truth: dict[str, dict[str, int]] = {}
    for action, worker, address in steps:
        inside = truth.setdefault(worker, {})
        if action == "enter":
            if not tally.enter(worker, address, most=5, most_of_address=3):
                inside[address] = inside.get(address, 0) + 1
        elif action == "leave":
            tally.leave(worker, address)
            inside[address] = max(inside.get(address, 0) - 1, 0)
        elif action == "die":
            tally.remove(worker)
            inside.clear()
        else:
            tally.replace(worker, inside)
        assert tally.total == sum(sum(each.values()) for each in truth.values()) <= 5
        for each in "123":
            assert tally.addresses[each] == sum(w.get(each, 0) for w in truth.values()) <= 3
