"""Path templates and the paths that clients send."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.paths import PathTemplate, decode_path, query_variables

SEGMENT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1
).filter(lambda text: text not in {".", ".."})


def match(template: str, path: str) -> dict[str, str] | None:
    segments = decode_path(path)
    return None if segments is None else PathTemplate(template).match(segments)


@pytest.mark.parametrize(
    ("template", "path", "variables"),
    [
        ("/", "/", {}),
        ("/ws", "/ws", {}),
        ("/ws", "/WS", None),
        ("/ws", "/ws/", None),
        ("/ws/", "/ws", None),
        ("/ws", "/%77s", {}),
        ("/ws/{room}", "/ws/1", {"room": "1"}),
        ("/ws/{room}", "/ws/", None),
        ("/ws/{room}", "/ws/1/2", None),
        ("/ws/{room}", "/ws/a%20b", {"room": "a b"}),
        ("/ws/{room}", "/ws/%C3%A9", {"room": "é"}),
        ("/ws/{room}", "/ws/a+b", {"room": "a+b"}),
        ("/{a}/x/{b}", "/1/x/2", {"a": "1", "b": "2"}),
        ("/f/{rest:.*}", "/f/a/b/c", {"rest": "a/b/c"}),
        ("/f/{rest:.*}", "/f/", {"rest": ""}),
        ("/f/{rest:.*}", "/f", None),
        ("/{rest:.*}", "/", {"rest": ""}),
    ],
)
def test_a_template_matches_whole_paths(
    template: str, path: str, variables: dict[str, str] | None
) -> None:
    assert match(template, path) == variables


@pytest.mark.parametrize(
    "path",
    [
        *("", "ws", "*", "/ws/%00", "/ws/a%0Ab", "/ws/%7f", "/ws/%C2%85", "/ws/..", "/ws/."),
        *("/ws/%2e%2E", "/ws/.%2e", "/ws/a%2Fb", "/ws/a%5Cb", "/ws/%", "/ws/%2", "/ws/%zz"),
        *("/ws/%FF", "/ws/%C3", "/ws/%ED%A0%80", "/ws/\udc80", "/ws/a\x00b"),
    ],
)
def test_what_no_client_means_well_with_is_refused(path: str) -> None:
    assert decode_path(path) is None


@given(room=SEGMENT)
def test_a_variable_is_what_the_client_encoded(room: str) -> None:
    assert match("/ws/{room}/x", f"/ws/{quote(room, safe='')}/x") == {"room": room}


@given(parts=st.lists(SEGMENT, min_size=1, max_size=5))
def test_the_rest_keeps_its_slashes(parts: list[str]) -> None:
    path = "/".join(quote(part, safe="") for part in parts)

    assert match("/f/{rest:.*}", f"/f/{path}") == {"rest": "/".join(parts)}


@given(path=st.text())
def test_no_path_is_too_strange(path: str) -> None:
    for segment in decode_path(f"/{path}") or ():
        assert segment not in {".", ".."}
        assert not any(character < " " or character in "/\\\x7f" for character in segment)


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("", {}),
        ("a=1&b=2", {"a": "1", "b": "2"}),
        ("a=1&a=2", {"a": "1"}),
        ("a=b+c%26", {"a": "b c&"}),
        ("a", {"a": ""}),
        ("a=%FF", {}),
        ("a=1&" * 300, {}),
    ],
)
def test_the_first_of_several_query_fields_counts(query: str, variables: dict[str, str]) -> None:
    assert query_variables(query) == variables
