"""When Python looks for reference cycles."""

import gc
from collections.abc import Iterator

import pytest

from gateway.server.garbage import settle


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


class _Link:
    def __init__(self) -> None:
        self.itself = self


def _young_collections_while_keeping(objects: int) -> int:
    before: int = gc.get_stats()[0]["collections"]
    kept = [_Link() for _ in range(objects)]
    after: int = gc.get_stats()[0]["collections"]
    assert len(kept) == objects
    return after - before


def test_what_is_there_at_the_start_is_not_looked_through_again() -> None:
    there = _Link()

    settle()

    assert gc.get_freeze_count() > 0
    assert not any(found is there for found in gc.get_objects())


def test_the_young_are_looked_through_rarely() -> None:
    """Against the default: 28 times in Python 3.11 and 3.12, 10 times since 3.13."""
    by_default = _young_collections_while_keeping(20_000)

    settle()

    assert _young_collections_while_keeping(20_000) <= 5 < by_default


def test_cycles_that_are_let_go_do_not_pile_up() -> None:
    settle()
    before = len(gc.get_objects())

    for _ in range(300_000):
        _Link()

    assert len(gc.get_objects()) - before < 30_000
