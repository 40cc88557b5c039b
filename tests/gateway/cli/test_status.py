import json

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from gateway.cli import status as module
from gateway.cli.internal import Answer
from gateway.cli.status import render, status

BODY = {
    "ready": False,
    "reasons": ["the broker is away"],
    "version": "1.2.3",
    "uptime": 3725.4,
    "sources": [],
    "broker": {"type": "redis", "ready": False},
    "routes": [{"name": "chat", "path": "/ws/{room} [x]"}, {"name": "news", "only": None}],
    "totals": {"connections": 12345, "messages_sent": 7},
    "processes": [{"worker": 1, "pid": 54321, "state": "serving"}],
    "upstreams": [{"name": "app", "busy": 2, "mean_ms": 1.5}],
}


def text_of(body: dict[str, object]) -> str:
    console = Console(width=120, no_color=True)
    with console.capture() as capture:
        console.print(render(body))
    return capture.get()


@pytest.fixture
def answers(monkeypatch):
    waiting: list[Answer] = []

    def answer(*_args, **_named):
        if not waiting:
            raise KeyboardInterrupt
        return waiting.pop(0)

    monkeypatch.setattr(module, "call", answer)
    monkeypatch.setattr(module, "_INTERVAL", 0)
    return waiting


def test_everything_that_is_told_is_shown() -> None:
    text = text_of(BODY)
    assert text.startswith("not ready\n  the broker is away\n")
    for shown in (
        "12,345",
        "1:02:05",
        "1.2.3",
        "/ws/{room} [x]",
        "type: redis, ready: no",
        "1.5",
        "54321",
    ):
        assert shown in text
    assert "sources" not in text


def test_what_it_serves_without_is_shown_though_it_is_ready() -> None:
    text = text_of({**BODY, "ready": True, "reasons": [], "degraded": ["the source is away"]})
    assert text.startswith("ready, degraded\n  the source is away\n")


def test_the_command_prints_it_once(answers) -> None:
    answers.append(Answer(200, json.dumps({**BODY, "ready": True}).encode()))
    result = CliRunner().invoke(status)
    assert result.exit_code == 0
    assert result.stdout.startswith("ready\n")


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (Answer(401, b'{"error":{"type":"unauthorized","message":"a key"}}'), "401 unauthorized"),
        (Answer(200, b"<html>"), "is no internal listener"),
        (Answer(200, b"[]"), "is no internal listener"),
    ],
)
def test_no_status_is_one_line_and_exit_1(answers, answer, complaint) -> None:
    answers.append(answer)
    result = CliRunner().invoke(status)
    assert result.exit_code == 1
    assert complaint in result.stderr


def test_watching_goes_on_through_a_restart_until_it_is_interrupted(answers, monkeypatch) -> None:
    answers.extend([Answer(200, json.dumps(BODY).encode()), Answer(503, b"")])
    result = CliRunner().invoke(status, ["--watch"])
    assert result.exit_code == 0
    assert answers == []
    assert "503 Service Unavailable" in result.stdout


def test_an_error_of_the_library_is_not_swallowed() -> None:
    with pytest.raises(click.ClickException, match="expected http"):
        module.ask("nowhere", "")
