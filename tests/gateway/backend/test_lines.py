"""One at a time for each key, the others in their order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcgi import QueueFullError
from gateway.backend.lines import Lines


def test_the_first_goes_and_the_others_wait_in_order() -> None:
    lines: Lines[int] = Lines(limit=10, wait=5.0)

    assert lines.enter("a", 1, 0.0)
    assert not lines.enter("a", 2, 0.0)
    assert not lines.enter("a", 3, 0.0)
    assert lines.enter("b", 4, 0.0)
    assert [lines.leave("a"), lines.leave("a"), lines.leave("a")] == [2, 3, None]
    assert lines.enter("a", 5, 0.0)


def test_the_limit_counts_all_who_wait() -> None:
    lines: Lines[int] = Lines(limit=1, wait=5.0)
    for key in "ab":
        lines.enter(key, 0, 0.0)
    lines.enter("a", 1, 0.0)

    with pytest.raises(QueueFullError):
        lines.enter("b", 2, 0.0)
    lines.leave("a")
    assert not lines.enter("b", 3, 0.0)


def test_who_waits_too_long_is_taken_out() -> None:
    lines: Lines[int] = Lines(limit=10, wait=5.0)
    lines.enter("a", 1, 0.0)
    lines.enter("a", 2, 0.0)
    lines.enter("a", 3, 1.0)

    assert lines.expire(4.9) == []
    assert lines.expire(5.0) == [2]
    assert len(lines) == 1
    assert lines.leave("a") == 3


@given(st.lists(st.tuples(st.sampled_from(["enter", "leave", "expire"]), st.sampled_from("ab"))))
def test_nobody_is_lost_and_nobody_goes_beside_another(steps: list[tuple[str, str]]) -> None:
    lines: Lines[int] = Lines(limit=3, wait=5.0)
    running: dict[str, int] = {}
    ended: list[int] = []
    waiting: list[int] = []
    number, now = 0, 0.0
    for step, key in steps:
        now += 1.0
        if step == "enter":
            number += 1
            try:
                goes = lines.enter(key, number, now)
            except QueueFullError:
                assert len(waiting) == 3
                ended.append(number)
                continue
            assert goes is (key not in running)
            if goes:
                running[key] = number
            else:
                waiting.append(number)
        elif step == "leave" and key in running:
            ended.append(running.pop(key))
            following = lines.leave(key)
            if following is not None:
                waiting.remove(following)
                running[key] = following
        elif step == "expire":
            for late in lines.expire(now):
                waiting.remove(late)
                ended.append(late)
        assert len(lines) == len(waiting)
    assert sorted([*ended, *running.values(), *waiting]) == list(range(1, number + 1))
