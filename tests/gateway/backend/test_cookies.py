"""The cookies of a connection, as replies change them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backend.cookies import LIMIT, remember

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("before", "lines", "after"),
    [
        ("", [], ""),
        ("", ["a=1"], "a=1"),
        ("", ["a=1; Path=/; HttpOnly; SameSite=Lax"], "a=1"),
        ("a=1; b=2", ["c=3"], "a=1; b=2; c=3"),
        ("a=1; b=2", ["a=9"], "a=9; b=2"),
        ("a=1; b=2", ["a=x; Max-Age=0"], "b=2"),
        ("a=1", ["a=x; Max-Age=-5"], ""),
        ("a=1", ["a=x; max-age=60; Expires=Thu, 01 Jan 1970 00:00:01 GMT"], "a=x"),
        ("a=1", ["a=x; Expires=Thu, 01 Jan 1970 00:00:01 GMT"], ""),
        ("a=1", ["a=deleted; expires=Thu, 01-Jan-1970 00:00:01 GMT; Max-Age=0"], ""),
        ("a=1", ["a=x; Expires=Thu, 01 Jan 2099 00:00:01 GMT"], "a=x"),
        ("a=1", ["a=x; Expires=nonsense; Max-Age=nonsense"], "a=x"),
        ("a=1", ["a=x; Expires=Mon, 99 Foo 99999 99:99:99 GMT"], "a=x"),
        ("a=1", [f"a=x; Max-Age={'9' * 5000}"], "a=x"),
        ("a=1", ["b=x; Max-Age=0"], "a=1"),
        ("a=1", ["nonsense", "=1", "", ";"], "a=1"),
        ("a=1; a=2", ["b=3"], "a=1; b=3"),
        ("a=1; a=2", ["a=3"], "a=3"),
        ("a=x=y==", ["b=p=q"], "a=x=y==; b=p=q"),
        ("", ["a="], "a="),
    ],
)
def test_a_reply_changes_the_cookies(before: str, lines: list[str], after: str) -> None:
    assert remember(before, lines, NOW) == after


def test_a_cookie_too_many_is_not_remembered() -> None:
    big = "a=" + "x" * (LIMIT - 2)

    assert remember("", [big], NOW) == big
    assert remember(big, ["b=1"], NOW) == big
    assert remember("a=1", ["a=" + "x" * LIMIT], NOW) == "a=1"


@given(st.text(max_size=50), st.lists(st.text(max_size=50), max_size=5))
def test_whatever_a_script_sets_is_remembered_or_left_out(before: str, lines: list[str]) -> None:
    assert len(remember(before, lines, NOW)) <= max(LIMIT, len(before) * 2)
