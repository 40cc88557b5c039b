"""Lines that are safe to read, and never too many of them."""

import io
import json
import logging
import sys
import time
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from gateway import logs


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@given(st.text())
def test_no_control_character_survives(text: str) -> None:
    escaped = logs.escape(text)

    assert all(character == "\t" or character >= " " for character in escaped)
    assert "\x7f" not in escaped
    assert "\x9b" not in escaped
    assert "\u2028" not in escaped


def test_a_value_cannot_forge_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    structlog.get_logger().warning("event", text='x\n{"event":"forged"}\x1b[2J')

    (line,) = capsys.readouterr().err.splitlines()
    found = json.loads(line)
    assert found["event"] == "event"
    assert found["text"] == 'x\\x0a{"event":"forged"}\\x1b[2J'


def test_below_the_level_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("warning", "console")
    structlog.get_logger().info("quiet")

    assert capsys.readouterr().err == ""


def test_a_log_that_cannot_be_written_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Closed())
    logs.configure("info", "json")
    structlog.get_logger().error("nobody reads this")


def test_ten_lines_a_second_and_then_how_many_were_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    throttle = logs.Throttle()

    assert sum(throttle.allows() for _ in range(1000)) == 10
    now += 1
    assert throttle.allows()
    assert throttle.taken() == {"suppressed": 990}
    assert throttle.taken() == {}


@pytest.mark.parametrize("style", ["console", "json"])
def test_a_traceback_shows_no_local_variables(
    capsys: pytest.CaptureFixture[str], style: str
) -> None:
    logs.configure("info", style)

    def fail() -> None:
        cookie = "secret"
        raise ValueError(len(cookie))

    try:
        fail()
    except ValueError:
        structlog.get_logger().exception("failed")

    told = capsys.readouterr().err
    assert "ValueError" in told
    assert "secret" not in told


def test_one_cause_cannot_fill_the_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    logs.configure("info", "json")
    log = structlog.get_logger()
    library = logging.getLogger("library")
    for number in range(1000):
        log.warning("often", number=number)
        log.warning("often", route="chat")
        library.warning("%d times", number)
    now += 1
    log.warning("often", number=1000)

    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert len(told) == 31
    assert told[-1]["suppressed"] == 990
