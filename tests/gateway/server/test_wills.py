"""What PHP is to hear of connections whose workers are dead: each once, none forgotten."""

from gateway.server.wills import BATCH, Will, Wills


def will(name: str, state: bytes = b"") -> Will:
    return Will(name, "chat", b"block", state)


def heirs(wills: Wills, heir: str) -> list[str]:
    return [each.id for batch in wills.inherit(heir) for each in batch]


def test_the_wills_of_the_dead_go_to_another_worker_once() -> None:
    wills = Wills()
    wills.keep("a", will("1"))
    wills.keep("a", will("2"))
    wills.keep("b", will("3"))
    wills.bury("a")

    assert heirs(wills, "b") == ["1", "2"]
    assert heirs(wills, "b") == []
    assert len(wills) == 3


def test_what_was_revoked_is_not_inherited() -> None:
    wills = Wills()
    wills.keep("a", will("1"))
    wills.keep("a", will("2"))
    wills.revoke("a", "1")
    wills.bury("a")

    assert heirs(wills, "b") == ["2"]
    wills.revoke("b", "2")
    assert len(wills) == 0


def test_an_heir_that_dies_passes_on_what_it_has_not_done() -> None:
    wills = Wills()
    wills.keep("a", will("1"))
    wills.keep("a", will("2"))
    wills.bury("a")
    heirs(wills, "b")
    wills.revoke("b", "1")
    wills.bury("b")

    assert heirs(wills, "c") == ["2"]


def test_a_newer_will_takes_the_place_of_the_older() -> None:
    wills = Wills()
    wills.keep("a", will("1", b"old"))
    wills.keep("a", will("1", b"new"))
    wills.bury("a")

    ((inherited,),) = wills.inherit("b")
    assert inherited.state_block == b"new"
    assert len(wills) == 1


def test_a_worker_that_is_back_says_everything_anew() -> None:
    wills = Wills()
    wills.keep("a", will("1"))
    wills.replace("a", [will("2"), will("3")])
    wills.bury("a")

    assert heirs(wills, "b") == ["2", "3"]
    assert len(wills) == 2


def test_there_is_an_end_to_what_is_kept() -> None:
    wills = Wills(limit=1)
    assert wills.keep("a", will("1"))
    assert not wills.keep("a", will("2"))
    assert wills.keep("a", will("1", b"newer"))
    assert len(wills) == 1


def test_many_are_handed_over_in_batches() -> None:
    wills = Wills()
    for n in range(BATCH + 1):
        wills.keep("a", will(str(n)))
    wills.bury("a")

    assert [len(batch) for batch in wills.inherit("b")] == [BATCH, 1]
