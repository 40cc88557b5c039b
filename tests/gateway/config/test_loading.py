"""From a file to values, or to all its mistakes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.config.document import Document
from gateway.config.loading import build, load
from gateway.config.model import Config
from gateway.config.units import Listen
from gateway.errors import ConfigurationError

UPSTREAM = """\
upstreams:
  app: {address: "unix:/run/php.sock", document_root: /srv}
"""

APP = """\
upstreams:
  app:
    address: unix:/run/php.sock
    document_root: /srv
"""
CASES = [
    ("\n".join(line.removeprefix("| ") for line in case.split("\n")[:-1]), case.split("\n> ")[1])
    for case in (Path(__file__).parent / "mistakes.txt").read_text().strip().split("\n\n")[1:]
]

Load = Callable[..., Config]
Mistakes = Callable[..., list[str]]


@pytest.fixture
def read(tmp_path: Path) -> Load:
    def read_text(text: str, **environ: str) -> Config:
        (tmp_path / "wsgate.yaml").write_text(text)
        return load(tmp_path / "wsgate.yaml", environ=environ)

    return read_text


@pytest.fixture
def mistakes(read: Load, tmp_path: Path) -> Mistakes:
    """The problems of a text, without the folder in front."""

    def problems(text: str, **environ: str) -> list[str]:
        with pytest.raises(ConfigurationError) as caught:
            read(text, **environ)
        assert str(caught.value) == "\n".join(caught.value.problems)
        return [line.removeprefix(f"{tmp_path}/wsgate.yaml:") for line in caught.value.problems]

    return problems


def test_what_is_left_out_has_its_default(read: Load) -> None:
    config = read(UPSTREAM)

    assert config.listen == (Listen("0.0.0.0", 8080),)
    assert config.upstreams["app"].max_connections == 4
    assert config.upstreams["app"].keepalive is True
    assert config.client.ping_interval == 25.0
    assert config.client.idle_timeout is None
    assert config.internal.listen.is_private


def test_connections_over_tcp_are_not_kept_by_default(read: Load) -> None:
    text = "upstreams: {a: {address: ['127.0.0.1:9000', 'unix:/x'], document_root: /srv}}"

    assert read(text).upstreams["a"].keepalive is False


def test_a_heading_with_nothing_below_it_is_as_good_as_none(read: Load) -> None:
    assert read(f"{UPSTREAM}channels:\n#  - match: a\n").channels == ()


def test_text_stays_as_it_was_written(read: Load) -> None:
    config = read(
        "upstreams:\n  a:\n    address: unix:/x\n    document_root: /srv\n"
        "    params: {A: yes, B: 0123, C: 1.10, D: 2026-01-01, E: ''}"
    )

    assert config.upstreams["a"].params == {
        "A": "yes", "B": "0123", "C": "1.10", "D": "2026-01-01", "E": "",
    }  # fmt: skip


def test_a_mistake_names_its_line_and_key(mistakes: Mistakes) -> None:
    text = f"{APP}    max_connections: many\n"

    assert mistakes(text) == ['5: upstreams.app.max_connections: expected a number, got "many"']


def test_all_mistakes_are_listed_in_the_order_of_the_file(mistakes: Mistakes) -> None:
    text = f"""\
listen: nowhere
{UPSTREAM}\
routes:
  - path: ws
    upstream: ap
    script: /a.php
  - path: /ws/{{room}}
    upstream: app
    script: /../etc/passwd
    subscribe: "x.{{rom}}"
shutdown: {{timeout: soon}}
"""

    assert mistakes(text) == [
        '1: listen: expected host:port or unix:/path, got "nowhere"',
        '5: routes[0].path: expected a path that begins with /, got "ws"',
        '6: routes[0].upstream: unknown upstream "ap"; did you mean app?',
        '10: routes[1].script: the script would be outside document_root: "/../etc/passwd"',
        "11: routes[1].subscribe: the path has no {rom}; it has {room}",
        '12: shutdown.timeout: expected a duration such as 250ms, 30s or 5m, got "soon"',
    ]


@pytest.mark.parametrize(("text", "message"), CASES)
def test_a_mistake_says_what_to_do(mistakes: Mistakes, text: str, message: str) -> None:
    found = mistakes(text)

    assert any(message in line for line in found), found


@pytest.mark.parametrize(
    "name",
    [
        *("PHP_VALUE", "PHP_ADMIN_VALUE", "php_value", "REQUEST_BODY_FILE", "REDIRECT_URL"),
        *("PATH_TRANSLATED", "ORIG_SCRIPT_NAME", "SCRIPT_FILENAME", "PATH_INFO", "HTTP_PROXY"),
        *("HTTP_X", "CONTENT_LENGTH", "WS_USER", "A-B", ""),
    ],
)
def test_a_param_that_php_must_not_get_is_refused(mistakes: Mistakes, name: str) -> None:
    text = f"{APP}    params:\n      {name!r}: x"

    (found,) = mistakes(text)

    assert found.startswith("6: upstreams.app.params.")


def test_a_file_that_is_missing_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nothing\.yaml: no such file"):
        load(tmp_path / "nothing.yaml")


def test_a_directory_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a directory"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ": the file is empty"),
        (b"# nothing\n", ": the file is empty"),
        (b"a: 1\nb: \xff\n", ":2: not UTF-8"),
        (b"just words", ":1: expected keys"),
        (b"- a\n- b", ":1: expected keys"),
        (b"a: 1\n\tb: 2", ":2: not YAML"),
        (b"a: [1, 2", "not YAML"),
        (b"a: b: c", ":1: not YAML: mapping values are not allowed here"),
        (b"a: 1\n---\nb: 2", ":2: not YAML: expected a single document"),
        (b"a: \x07", ":1: not YAML: the character U+0007 is not allowed"),
        (b"log: !!python/object:os.system {}", ":1: log: the tag"),
        (b"? [a]\n: b", ":1: a key must be text"),
        (b"[" * 5000, ": not YAML for people: nested too deep"),
        (b"a: " + b"[" * 60 + b"]" * 60, "nested too deep"),
        (b"a: &a [1]\nb: *c", ":2: not YAML: found undefined alias"),
        (b"a: &a [*a]", "nested too deep, or too many aliases"),
    ],
)
def test_what_is_no_configuration_is_said_so(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(content)

    with pytest.raises(ConfigurationError) as caught:
        load(file)

    assert message in str(caught.value)
    assert "\n" not in message


def test_aliases_that_multiply_are_refused(mistakes: Mistakes) -> None:
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 9))

    assert "too many aliases" in mistakes(f"l0: &l0 [x, x]\n{levels}")[0]


def test_a_key_given_twice_is_a_mistake(mistakes: Mistakes) -> None:
    assert mistakes("log:\n  level: info\n  level: debug") == [
        "3: log.level: given twice; the first is on line 2"
    ]


def test_merged_mappings_give_way_to_what_stands_there(read: Load) -> None:
    config = read(
        "upstreams:\n  a: &a {address: 'unix:/a', document_root: /srv, max_connections: 2}\n"
        "  b:\n    address: unix:/b\n    <<: *a\n"
    )

    assert str(config.upstreams["b"].address[0]) == "unix:/b"
    assert config.upstreams["b"].max_connections == 2


def test_a_configuration_cannot_be_changed(read: Load) -> None:
    with pytest.raises(ValueError, match="frozen"):
        read(UPSTREAM).workers = 2  # type: ignore[misc]


def test_what_was_put_together_in_python_names_its_mistakes_by_key() -> None:
    data = {"routes": [{"path": "/a", "events": []}, {"path": "b", "send_buffer": "x"}]}

    with pytest.raises(ConfigurationError) as caught:
        build(Document(data), name="examples", folder=Path("/"))

    assert caught.value.problems == (
        'examples: routes[1].path: expected a path that begins with /, got "b"',
        'examples: routes[1].send_buffer: expected a size such as 64KiB or 1MiB, got "x"',
    )


def test_relative_files_start_at_the_folder_of_the_file(read: Load, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").touch()
    (tmp_path / "key.pem").touch()

    config = read("tls: {certificate: cert.pem, key: key.pem}")

    assert config.tls is not None
    assert config.tls.certificate == tmp_path / "cert.pem"
