"""Patterns of channel names."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.patterns import Pattern, PatternSet


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("room.1", "room.1", True),
        ("room.1", "room.10", False),
        ("room.*", "room.1", True),
        ("room.*", "room.1.2", True),
        ("room.*", "room.", True),
        ("room.*", "room", False),
        ("*", "", True),
        ("*.x", "a.b.x", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("*a*b*", "xbxaxb", True),
        ("*a*b*", "xbxa", False),
        ("*ab*b", "ab", False),
        ("a.b", "axb", False),
    ],
)
def test_a_star_stands_for_any_characters(pattern: str, name: str, matches: bool) -> None:
    assert Pattern(pattern).matches(name) is matches


@pytest.mark.parametrize(
    ("pattern", "name", "stands_for"),
    [
        ("order.7", "order.7", None),
        ("order.*", "order.7", "7"),
        ("order.*", "order.", ""),
        ("order.*.state", "order.7.8.state", "7.8"),
        ("*", "all of it", "all of it"),
        ("*.*", "a.b.c", "a"),
        ("a*b*c", "axbybc", "x"),
        ("a**c", "axyc", "xy"),
    ],
)
def test_what_the_first_star_stands_for_ends_as_early_as_it_may(
    pattern: str, name: str, stands_for: str | None
) -> None:
    assert Pattern(pattern).matches(name)
    assert Pattern(pattern).wildcard(name) == stands_for


def test_a_star_in_a_name_is_only_a_star() -> None:
    assert not Pattern("room.1").matches("room.*")
    assert not Pattern("room.1").matches("*")


@given(pattern=st.text("ab*", max_size=8), name=st.text("ab*", max_size=10))
def test_it_agrees_with_a_regular_expression(pattern: str, name: str) -> None:
    expected = ".*".join(re.escape(piece) for piece in pattern.split("*"))

    assert Pattern(pattern).matches(name) is bool(re.fullmatch(expected, name, re.DOTALL))


def test_many_stars_take_no_time() -> None:
    assert not Pattern("*a" * 100 + "*b").matches("a" * 255)


def test_of_several_patterns_one_must_match() -> None:
    patterns = PatternSet(["a.*", "b"])

    assert patterns.matches("b")
    assert not patterns.matches("c")
    assert not PatternSet([])
    assert not PatternSet([]).matches("a")
