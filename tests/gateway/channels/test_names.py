import pytest

from gateway.channels import names
from gateway.errors import ChannelNameError


@pytest.mark.parametrize(
    "name",
    ["a", "room.1", "user:42", "größe", "日本", "🙂", "a/b", "x" * 255, "é" * 127, "'\"`;--"],
)
def test_a_name_of_visible_characters_is_returned(name: str) -> None:
    assert names.check(name) == name


@pytest.mark.parametrize("name", ["", "x" * 256, "é" * 128])
def test_a_name_must_have_1_to_255_bytes(name: str) -> None:
    with pytest.raises(ChannelNameError):
        names.check(name)


@pytest.mark.parametrize(
    "sign",
    ["\0", "\n", "\r", "\t", " ", "\x7f", "\x85", "\xa0", "\u2028", "\u200b", "\u202e", "\ufeff"],
)
def test_what_cannot_be_seen_is_refused_wherever_it_stands(sign: str) -> None:
    for name in (sign, f"{sign}a", f"a{sign}", f"a{sign}b"):
        with pytest.raises(ChannelNameError):
            names.check(name)


def test_half_a_character_is_refused() -> None:
    with pytest.raises(ChannelNameError):
        names.check("a\ud800")


@pytest.mark.parametrize("name", ["*", ">", "room.*", "a.>", "a*b", "x>y"])
def test_no_name_is_a_pattern(name: str) -> None:
    with pytest.raises(ChannelNameError):
        names.check(name)


def test_a_refusal_can_be_logged_safely() -> None:
    with pytest.raises(ChannelNameError) as caught:
        names.check("a\n\x1b[31m" + "x" * 10_000)

    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
