"""Names of channels from the variables of a handshake."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.channels import ChannelTemplate, Variables

VARIABLES = Variables(
    path={"room": "7"},
    query={"id": "q", "a.b": "dot", "none": ""},
    headers={"x-team": "t"},
    user="u",
)


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("news", "news"),
        ("room.{room}", "room.7"),
        ("{query.id}", "q"),
        ("{query.a.b}", "dot"),
        ("{header.X-Team}.{user}", "t.u"),
        ("{room}{room}", "77"),
        ("{query.none}", None),
        ("a.{query.other}", None),
        ("{header.other}", None),
        ("{other}", None),
    ],
)
def test_a_template_is_filled_or_joins_nothing(template: str, name: str | None) -> None:
    assert ChannelTemplate(template).render(VARIABLES) == name


def test_without_a_user_there_is_no_channel_of_the_user() -> None:
    assert ChannelTemplate("user.{user}").render(Variables()) is None


@given(value=st.text(min_size=1))
def test_what_a_client_sent_is_put_in_as_it_is(value: str) -> None:
    """Also braces and stars: they are literals, and no variable of a variable."""
    rendered = ChannelTemplate("a.{query.id}").render(Variables(query={"id": value}, user="u"))

    assert rendered == f"a.{value}"


@pytest.mark.parametrize(
    "template",
    ["", "{", "}", "{}", "{a-b}", "{query.}", "{cookie.x}", "a b", "a*", "{{a}}", "x" * 256],
)
def test_a_bad_template_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"expected|brace|channel"):
        ChannelTemplate(template)
