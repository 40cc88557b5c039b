"""`${NAME}`, `${NAME:-default}` and `${file:/path}`."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.interpolation import interpolate
from gateway.config.loading import parse
from gateway.errors import ConfigurationError

HERE = Path("/nowhere")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "1"),
        ("x${A}y${B}", "x1y"),
        ("${A:-2}", "1"),
        ("${B:-2}", "2"),
        ("${C:-}", ""),
        ("${C:-a:-b}", "a:-b"),
        ("$${A}", "${A}"),
        ("$A $", "$A $"),
    ],
)
def test_placeholders_are_replaced(text: str, value: str) -> None:
    assert interpolate(text, {"A": "1", "B": ""}, HERE) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${C}", "the environment has no C; set it, or write ${C:-default}"),
        ("${C", "not closed"),
        ("${a b}", "expected"),
        ("${}", "expected"),
        ("${file:}", "expected the path"),
        ("${file:/nowhere/x}", "cannot read /nowhere/x: No such file"),
    ],
)
def test_a_bad_placeholder_says_why(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
        interpolate(text, {}, HERE)

    assert message in str(caught.value)


def test_a_file_gives_its_content_without_the_last_line_end(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a b\n")

    assert interpolate("${file:key}", {}, tmp_path) == "a b"
    assert interpolate(f"${{file:{tmp_path}/key}}", {}, HERE) == "a b"


@given(value=st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_what_is_put_in_is_text_and_never_structure(value: str) -> None:
    config = parse("internal: {api_key: '${K}'}", name="x", folder=HERE, environ={"K": value})

    assert config.internal.api_key == value


def test_a_number_may_come_from_the_environment() -> None:
    config = parse("internal: {listen: '127.0.0.1:${P}'}\nshutdown: {timeout: '${T}'}",
                   name="x", folder=HERE, environ={"P": "81", "T": "7s"})  # fmt: skip

    assert config.internal.listen.port == 81
    assert config.shutdown.timeout == 7.0


def test_a_value_that_came_from_a_file_is_never_printed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2")
    text = "workers: ${file:secret}\nlisten: ['${file:secret}']\nlog: ${file:secret}"

    with pytest.raises(ConfigurationError) as caught:
        parse(text, name="x", folder=tmp_path, environ={})

    assert len(caught.value.problems) >= 3
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "internal: {api_key: [hunter2]}",
        "internal: hunter2",
        "databases: {main: [hunter2]}",
        "databases: hunter2",
        "databases: {main: {dsn: {x: hunter2}}}",
        "sources: [{type: postgres, dsn: 'postgresql://u:hunter2@h/d', match: x}]",
        "broker: {type: memory, url: 'redis://:hunter2@h'}",
        "stores: {memcached: 'memcached://u:hunter2@h'}",
        "routes: [{path: /a, auth: {jwt: {secret: hunter2, algorithms: [RS256]}}}]",
        "routes: [{path: /a, auth: {jwt: hunter2}}]",
    ],
)
def test_a_secret_is_never_printed(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(text, name="x", folder=HERE, environ={})

    assert "hunter2" not in str(caught.value)


def test_a_configuration_can_be_logged_without_its_secrets() -> None:
    text = """
internal: {api_key: hunter2}
upstreams: {a: {address: "unix:/x", document_root: /x, params: {DB_PASSWORD: hunter2}}}
"""

    assert "hunter2" not in repr(parse(text, name="x", folder=HERE, environ={}))
