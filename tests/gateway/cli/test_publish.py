"""The commands are run against a small HTTP server of the standard library that remembers."""

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli.publish import publish


class Listener:
    """Answers every call with `status` and `body`; remembers the calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, dict[str, str], bytes]] = []
        self.status, self.body = 201, b'{"subscribers":1,"offset":42,"epoch":"x"}\n'

    def handler(self) -> type[BaseHTTPRequestHandler]:
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length)
                listener.calls.append((self.command, self.path, dict(self.headers), body))
                self.send_response(listener.status)
                self.send_header("Content-Length", str(len(listener.body)))
                self.end_headers()
                self.wfile.write(listener.body)

            do_GET = do_POST = answer  # noqa: N815 - named by the base class

            def address_string(self) -> str:
                return ""

            def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002

        return Handler


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def run(listener: Listener) -> Iterator[Callable[..., Result]]:
    server = HTTPServer(("127.0.0.1", 0), listener.handler())
    environment = {"WSGATE_API": f"http://127.0.0.1:{server.server_port}"}

    def invoke(*arguments: str, **more: Any) -> Result:
        env = {**environment, **more.pop("env", {})}
        return CliRunner().invoke(publish, arguments, env=env, **more)

    with serving(server):
        yield invoke


def test_the_data_goes_to_the_channel_and_the_answer_is_printed(run, listener):
    result = run("room.1", "hello ä")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {"subscribers": 1, "offset": 42, "epoch": "x"}
    ((method, path, headers, body),) = listener.calls
    assert (method, path, body) == ("POST", "/channels/room.1", "hello ä".encode())
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "Authorization" not in headers


def test_a_dash_reads_standard_input_as_it_is(run, listener):
    run("room.1", "-", "--content-type", "application/octet-stream", input=b"\xff\0\n")
    assert listener.calls[0][3] == b"\xff\0\n"
    assert listener.calls[0][2]["Content-Type"] == "application/octet-stream"


def test_the_key_comes_from_the_option_or_the_environment(run, listener):
    run("room.1", "x", env={"WSGATE_API_KEY": "from-environment"})
    run("room.1", "x", "--key", "from-option", env={"WSGATE_API_KEY": "from-environment"})
    keys = [headers["Authorization"] for _, _, headers, _ in listener.calls]
    assert keys == ["Bearer from-environment", "Bearer from-option"]


def test_an_idempotency_key_is_sent_along(run, listener):
    run("room.1", "x", "--idempotency-key", "order-7")
    assert listener.calls[0][2]["Idempotency-Key"] == "order-7"


def test_the_name_of_the_channel_is_escaped(run, listener):
    run("a/b?ä", "x")
    assert listener.calls[0][1] == "/channels/a%2Fb%3F%C3%A4"


def test_a_refusal_is_one_line_and_exit_1(run, listener):
    listener.status = 404
    listener.body = b'{"error":{"code":404,"type":"not_found","message":"it is not open"}}'
    result = run("room.1", "x")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == "Error: 404 not_found: it is not open\n"


def test_an_answer_of_somebody_else_is_one_line_too(run, listener):
    listener.status, listener.body = 502, b"<html>nginx</html>"
    result = run("room.1", "x")
    assert (result.exit_code, result.stderr) == (1, "Error: 502 Bad Gateway\n")


@pytest.mark.parametrize(
    ("api", "complaint"),
    [
        ("http://127.0.0.1:1", "does not answer"),
        ("unix:/nonexistent/socket", "does not answer"),
        ("ftp://127.0.0.1", "expected http://HOST:PORT"),
        ("127.0.0.1:8081", "expected http://HOST:PORT"),
        ("http://127.0.0.1:many", "expected http://HOST:PORT"),
        ("http://[::1", "expected http://HOST:PORT"),
    ],
)
def test_an_address_without_a_listener_is_one_line(api, complaint):
    result = CliRunner().invoke(publish, ["room.1", "x", "--api", api])
    assert result.exit_code == 1
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_line_break_cannot_become_a_header(run, listener):
    result = run("room.1", "x", "--idempotency-key", "a\r\nX-Other: b")
    assert result.exit_code == 1
    assert listener.calls == []


def test_the_listener_may_be_a_unix_socket(listener, tmp_path: Path):
    path = str(tmp_path / "internal.sock")
    with (
        socketserver.UnixStreamServer(path, listener.handler()) as server,
        serving(server),
    ):
        result = CliRunner().invoke(publish, ["room.1", "x", "--api", f"unix:{path}"])
    assert result.exit_code == 0
    assert listener.calls[0][1] == "/channels/room.1"
