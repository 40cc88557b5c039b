"""When a dead worker is replaced."""

from gateway.server.restarts import HEALTHY, Restarts


def half() -> float:
    return 0.5


def test_the_first_death_is_followed_at_once() -> None:
    restarts = Restarts(half)

    assert restarts.died(0.1) == 0.0
    assert not restarts.crash_loop


def test_who_keeps_dying_is_waited_for_longer_and_longer_but_not_for_ever() -> None:
    restarts = Restarts(half)
    pauses = [restarts.died(1.0) for _ in range(30)]

    assert pauses[:5] == [0.0, 0.2, 0.4, 0.8, 1.6]
    assert max(pauses) == pauses[-1] == 30.0
    assert restarts.crash_loop


def test_who_has_lived_for_a_while_did_not_die_of_its_start() -> None:
    restarts = Restarts(half)
    for _ in range(5):
        restarts.died(1.0)

    assert restarts.died(HEALTHY) == 0.0
    assert not restarts.crash_loop


def test_a_worker_that_lives_ends_the_loop() -> None:
    restarts = Restarts(half)
    for _ in range(5):
        restarts.died(1.0)
    restarts.lives(HEALTHY - 1)
    assert restarts.crash_loop

    restarts.lives(HEALTHY)
    assert not restarts.crash_loop


def test_the_pauses_are_spread_by_chance() -> None:
    first, second = Restarts(lambda: 0.0), Restarts(lambda: 0.99)
    for restarts in (first, second):
        restarts.died(0.0)

    assert first.died(0.0) == 0.1
    assert 0.29 < second.died(0.0) < 0.3
