"""Whatever stands in the file, the answer is a configuration or a list of mistakes."""

import contextlib
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.config.document import Document
from gateway.config.loading import build, parse
from gateway.errors import ConfigurationError

EXAMPLE = Path(__file__).parents[3] / "conf" / "wsgate.yaml"
HERE = Path("/nowhere")
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["off", "0", "*", "{", "{x}", "${", "${file:/", "/..", "unix:", "memory", "-1s"]
    ),
    st.lists(st.text(max_size=5), max_size=3),
    st.lists(st.lists(st.none(), max_size=1), max_size=2),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
)


EMPTY: list[Any] = [None, {}, [], "", {"x": {"y": "z"}}, [[{}]]]
# Every key with a value.
WHOLE = yaml.load(
    re.sub(r"^( *)# ", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE), Loader=yaml.BaseLoader
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in inner if isinstance(value, dict | list) else ():
        yield (*path, key)
        yield from paths(item, (*path, key))


def with_junk(path: tuple[Any, ...], junk: Any) -> Any:
    data = inner = deepcopy(WHOLE)
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = junk
    return data


@given(path=st.sampled_from(sorted(paths(WHOLE), key=repr)), junk=JUNK)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_one_bad_value_in_any_place_gives_whole_lines(path: tuple[Any, ...], junk: Any) -> None:
    try:
        build(Document(with_junk(path, junk)), name="x.yaml", folder=HERE)
    except ConfigurationError as exc:
        problems = exc.problems
    else:
        return  # some junk is a value, in some place

    for line in problems:
        assert re.fullmatch(r"x\.yaml(:\d+)?: .+", line), line
        assert "Traceback" not in line
        assert "Input should be" not in line


@given(text=st.text(max_size=200) | st.text("ab:[]{}-&*!|>'\"\n #$", max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_gives_values_or_mistakes(text: str) -> None:
    try:
        parse(text, name="x.yaml", folder=HERE, environ={})
    except ConfigurationError as exc:
        assert exc.problems  # noqa: PT017 - most texts are mistakes, some are none


@pytest.mark.parametrize("path", sorted(paths(WHOLE), key=repr), ids=str)
def test_a_mapping_or_nothing_in_any_place_is_no_crash(path: tuple[Any, ...]) -> None:
    for junk in EMPTY:
        with contextlib.suppress(ConfigurationError):
            build(Document(with_junk(path, junk)), name="x.yaml", folder=HERE)
