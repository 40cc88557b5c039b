"""Ids of events: what goes in comes out, and what is none of them does no harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.publication import NOWHERE, Position
from gateway.sessions.positions import MOST, Resume, encode_id, just_before, tag

EPOCHS = st.text("abcXYZ019-_", min_size=1, max_size=12)
POSITIONS = st.builds(Position, st.integers(0, 10**12), EPOCHS)


@given(st.dictionaries(st.text(min_size=1, max_size=30), POSITIONS, min_size=1, max_size=20))
def test_an_id_says_where_its_reader_stands_in_each_channel(positions) -> None:
    resume = Resume(encode_id(positions))

    assert resume.given
    assert not resume.garbled
    assert {channel: resume.of(channel) for channel in positions} == positions
    assert resume.of("another channel altogether") is None


def test_an_id_is_an_offset_an_epoch_and_a_tag() -> None:
    assert encode_id({"room.1": Position(41, "abc")}) == f"41:abc:{tag('room.1')}"
    assert len(tag("x" * 255)) == 8


def test_without_history_there_is_nothing_to_resume() -> None:
    resume = Resume(encode_id({}))

    assert (resume.given, resume.news_only, resume.garbled) == (True, True, False)
    assert resume.of("a") is None


def test_a_client_that_comes_for_the_first_time_has_nothing() -> None:
    resume = Resume("")

    assert (resume.given, resume.news_only, resume.garbled) == (False, False, False)


def test_a_position_without_a_tag_is_tried_on_every_channel() -> None:
    assert Resume("41:abc").of("a") == Resume("41:abc").of("b") == Position(41, "abc")


def test_an_id_stays_within_what_a_header_holds() -> None:
    many = {f"channel.{number}": Position(10**9, "0123456789") for number in range(1000)}
    event_id = encode_id(many)

    assert len(event_id) <= MOST
    assert Resume(event_id).of("channel.0") == Position(10**9, "0123456789")
    assert Resume(event_id).of("channel.999") is None


@pytest.mark.parametrize(
    "garbage",
    [
        *("x", ":", "1", "1:", ":abc", "-1:abc", "1e9:abc", "1:abc:short", "1:a b", "1:abc,"),
        *(
            "99999999999999999999:abc",
            "--",
            "1:abc:12345678,x",
            "\udcff",
            "\uff11:abc",
            "1:" + "e" * 65,
        ),
        *("1:abc:\u00e912345678", "9" * 100_000, ",".join(["1:abc"] * 5000)),
    ],
)
def test_anything_else_is_known_to_be_garbled(garbage: str) -> None:
    resume = Resume(garbage)

    assert resume.garbled
    assert resume.of("a") is None


@given(st.text(max_size=200))
def test_no_text_fails(text: str) -> None:
    Resume(text).of("a")


def test_just_before_the_first_is_the_beginning() -> None:
    assert just_before(Position(1, "a")) == Position(0, "a")
    assert just_before(NOWHERE) is NOWHERE
