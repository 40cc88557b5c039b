"""The console against a real WebSocket server, as a process of its own."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from gateway.cli.tally import Tally, progress_line, summary_table
from gateway.cli.terminal import shown, wrapped

Handler = Callable[[web.WebSocketResponse, Any], Awaitable[None]]


class Server:
    """A WebSocket server; what it does with a message is a test's affair."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[web.Request] = []
        self.pushes = 0
        self.close_code = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if request.path == "/forbidden":
            raise web.HTTPForbidden
        protocols = ("wsgate.v1.json",) if request.path == "/json" else ()
        socket = web.WebSocketResponse(protocols=protocols)
        await socket.prepare(request)
        for number in range(self.pushes):
            await socket.send_str(f"push {number}")
        if self.close_code:
            await socket.close(code=self.close_code)
        async for message in socket:
            if message.type is WSMsgType.TEXT and message.data == "bytes":
                await socket.send_bytes(b"\x00\xff")
            elif message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
        return socket


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    serving = Server()
    app = web.Application()
    app.router.add_get("/{path:.*}", serving.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    serving.url = f"ws://127.0.0.1:{port}"
    yield serving
    await runner.cleanup()


async def console(*arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway.cli.main",
        "console",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(stdin), 30)
    return process.returncode or 0, out.decode(), err.decode()


async def test_lines_of_a_pipe_are_sent_and_their_replies_shown_before_it_ends(
    server: Server,
) -> None:
    code, out, err = await console(server.url + "/", stdin=b"hello\nbytes\n")

    assert code == 0
    assert "> hello" in out
    assert "< hello" in out
    assert "< binary, 2 bytes: 00 ff" in out
    assert "connected to" in err


async def test_json_output_is_one_object_a_line_and_nothing_else(server: Server) -> None:
    code, out, err = await console(server.url + "/", "--json", stdin=b'{"a": "\xc3\xa9"}\nbytes')

    records = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert not err
    received = [record for record in records if record["direction"] == "in"]
    assert received[0]["data"] == '{"a": "é"}'
    assert received[1] | {"time": ""} == {
        "time": "",
        "direction": "in",
        "type": "binary",
        "encoding": "base64",
        "data": "AP8=",
    }


async def test_headers_reach_the_handshake(server: Server) -> None:
    await console(server.url + "/", "--header", "Cookie: a=b", "--header", "X-One:two", stdin=b"x")

    assert server.requests[0].headers["Cookie"] == "a=b"
    assert server.requests[0].headers["X-One"] == "two"


async def test_a_refused_handshake_is_one_line_with_its_status(server: Server) -> None:
    code, out, err = await console(server.url + "/forbidden")

    assert (code, out) == (1, "")
    assert err == "Error: refused: 403 Forbidden\n"


async def test_nobody_listening_is_one_line(unused_tcp_port: int) -> None:
    code, out, err = await console(f"ws://127.0.0.1:{unused_tcp_port}/")

    assert (code, out) == (1, "")
    assert err.startswith("Error: cannot connect: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "127.0.0.1:80", "ws:///x", "ws://h:99999/"])
async def test_what_is_no_websocket_address_is_a_wrong_call(url: str) -> None:
    code, _out, err = await console(url)

    assert code == 2
    assert "expected ws://HOST/PATH or wss://HOST/PATH" in err


async def test_a_close_by_the_server_is_told_and_gives_its_own_exit_code(server: Server) -> None:
    server.close_code = 4001

    code, _out, err = await console(server.url + "/")

    assert code == 3
    assert "closed by the server: 4001" in err


async def test_a_normal_close_by_the_server_is_no_failure(server: Server) -> None:
    server.close_code = 1001

    code, _out, _err = await console(server.url + "/")

    assert code == 0


async def test_it_listens_until_the_timeout_when_there_is_nothing_to_send(server: Server) -> None:
    server.pushes = 3

    code, out, _err = await console(server.url + "/", "--timeout", "500ms")

    assert code == 0
    assert out.count("< push") == 3


async def test_a_channel_is_asked_for_in_the_json_protocol_and_lines_are_wrapped(
    server: Server,
) -> None:
    code, out, _err = await console(
        server.url + "/json",
        "--channel",
        "room.1",
        "--json",
        "--timeout",
        "1s",
        stdin=b'plain\n{"a": 1}\n{"publish": "room.1", "data": 1}\n',
    )

    said = [json.loads(json.loads(line)["data"]) for line in out.splitlines()]
    assert code == 0
    assert {"id": 1, "subscribe": "room.1"} in said
    assert {"id": 2, "send": "plain"} in said
    assert {"id": 3, "send": {"a": 1}} in said
    assert {"id": 4, "publish": "room.1", "data": 1} in said


async def test_a_server_without_the_json_protocol_is_told_when_channels_are_asked_for(
    server: Server,
) -> None:
    code, _out, err = await console(server.url + "/", "--channel", "room.1")

    assert code == 1
    assert err.splitlines()[-1] == "Error: the server does not speak wsgate.v1.json"


async def test_many_connections_are_counted_each(server: Server) -> None:
    server.pushes = 4

    code, out, _err = await console(
        server.url + "/", "--connections", "20", "--timeout", "2s", "--json"
    )

    summary = json.loads(out.splitlines()[-1])["summary"]
    assert code == 0
    assert summary["connections"]["opened"] == 20
    assert summary["received"] == 80
    assert summary["per_connection"] == {"least": 4, "median": 4, "most": 4}


async def test_many_connections_that_are_refused_are_counted_by_reason(server: Server) -> None:
    code, out, _err = await console(server.url + "/forbidden", "--connections", "5")

    assert code == 1
    assert "0 of 5 opened" in out
    assert "5  refused: 403 Forbidden" in out


def test_progress_gives_the_rate_since_the_last_look() -> None:
    tally = Tally(wanted=2)
    first, second = tally.opened(), tally.opened()
    for _ in range(10):
        tally.frame(first, 100)
    tally.progress(1.0)
    for _ in range(6):
        tally.frame(second, 100)

    progress = tally.progress(3.0)

    assert progress["rate"] == 3
    assert (progress["least"], progress["most"]) == (6, 10)
    assert progress_line(progress) == "3s  2 open  16 frames (3/s)  6 to 10 each"


def test_the_summary_names_failures_and_close_codes() -> None:
    tally = Tally(wanted=3)
    tally.frame(tally.opened(), 5)
    tally.closed(1012)
    tally.failures["refused: 503"] += 2

    table = summary_table(tally.summary(2.0))

    assert "1 of 3 opened" in table
    assert "2  refused: 503" in table
    assert "1  code 1012" in table
    assert "frames per second    0.5" in table


def test_an_object_with_an_id_keeps_it() -> None:
    assert json.loads(wrapped('{"id": 77, "history": "a"}', 5)) == {"id": 77, "history": "a"}


def test_a_server_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in shown("in", "red \x1b[31m\r", as_json=False)
