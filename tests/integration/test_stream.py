"""`stream: lines` with a real php-fpm: every line PHP flushes is a frame at once."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import websockets

from tests.phpfpm import PhpFpm, free_port
from tests.wsgate import serve


@asynccontextmanager
async def gateway(folder: Path, php: PhpFpm, script: str, more: str = "") -> AsyncIterator[str]:
    php.script("lines.php", script)
    port = free_port()
    file = folder / "wsgate.yaml"
    file.write_text(f"""
listen: 127.0.0.1:{port}
internal: {{listen: "unix:{folder}/internal.sock"}}
upstreams:
  app: {{address: "{php.address}", document_root: "{php.document_root}", timeout: 20s}}
routes:
  - {{path: /ws, upstream: app, script: /lines.php, stream: lines{more}}}
""")
    async with serve(file):
        yield f"ws://127.0.0.1:{port}/ws"


async def receive(client: Any, within: float = 10) -> Any:
    return await asyncio.wait_for(client.recv(), within)


async def test_a_line_is_a_frame_before_the_script_has_ended(php_fpm, tmp_path) -> None:
    """The script goes on only when a file appears that this test makes after the first frame."""
    go = php_fpm.document_root / "go"
    script = f"""
        header('Content-Type: text/plain');
        echo "first\\n"; flush();
        while (!file_exists('{go}')) {{ usleep(5000); clearstatcache(); }}
        echo "second\\r\\n\\nthi"; flush();
        echo "rd\\nrest";
    """
    async with gateway(tmp_path, php_fpm, script) as url, websockets.connect(url) as client:
        await client.send("x")
        assert await receive(client) == "first"
        go.touch()
        assert [await receive(client) for _ in range(3)] == ["second", "third", "rest"]


async def test_lines_of_messages_in_flight_together_keep_the_order_of_the_messages(
    php_fpm, tmp_path
) -> None:
    script = """
        header('Content-Type: text/plain');
        $wait = (int) file_get_contents('php://input');
        for ($i = 0; $i < 3; $i++) { echo "$wait.$i\\n"; flush(); usleep($wait * 1000); }
    """
    async with (
        gateway(tmp_path, php_fpm, script, ", concurrency: 4") as url,
        websockets.connect(url) as client,
    ):
        for wait in (100, 1, 50, 2):
            await client.send(str(wait))
        found = [await receive(client) for _ in range(12)]
    assert found == [f"{wait}.{line}" for wait in (100, 1, 50, 2) for line in range(3)]


async def test_a_client_that_reads_slowly_gets_every_line_and_makes_php_wait(
    php_fpm, tmp_path
) -> None:
    """Two megabytes, many times what may be unread: nothing is dropped, nobody is closed."""
    script = """
        header('Content-Type: text/plain');
        for ($i = 0; $i < 600; $i++) { echo str_pad((string) $i, 4000, '.'), "\\n"; flush(); }
    """
    async with gateway(tmp_path, php_fpm, script) as url:
        small = socket.socket()
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        small.connect(("127.0.0.1", int(url.rpartition(":")[2].partition("/")[0])))
        small.setblocking(False)
        async with websockets.connect(url, sock=small, max_queue=1) as client:
            await client.send("x")
            for number in range(600):
                line = await receive(client)
                assert line.rstrip(".") == str(number)
                assert len(line) == 4000
            await client.send("y")
            assert (await receive(client)).startswith("0.")


async def test_who_goes_while_lines_come_costs_the_others_nothing(php_fpm, tmp_path) -> None:
    script = """
        header('Content-Type: text/plain');
        $lines = (int) file_get_contents('php://input');
        for ($i = 0; $i < $lines; $i++) { echo str_repeat('.', 1000), "\\n"; flush(); }
        echo "end";
    """
    async with gateway(tmp_path, php_fpm, script) as url:
        for _ in range(8):
            client = await websockets.connect(url, max_queue=1)
            await client.send("3000")
            await receive(client)
            client.transport.abort()
        async with websockets.connect(url) as client:
            await client.send("1")
            assert len(await receive(client)) == 1000
            assert await receive(client) == "end"


async def test_a_script_that_dies_half_way_is_followed_by_an_error_frame(php_fpm, tmp_path) -> None:
    script = """
        header('Content-Type: text/plain');
        echo getmypid(), "\\n"; flush(); sleep(15);
    """
    async with gateway(tmp_path, php_fpm, script) as url, websockets.connect(url) as client:
        await client.send("x")
        os.kill(int(await receive(client)), signal.SIGKILL)
        error = json.loads(await receive(client))["error"]
        assert (error["code"], error["type"], error["message_id"]) == (502, "upstream_error", 1)


@pytest.mark.parametrize(
    ("head", "body", "expected"),
    [
        ("http_response_code(422)", r'"a\nb\n"', None),
        ("header('Content-Type: application/vnd.wsgate+json')", "'[{\"send\":1}]'", "1"),
        ("header('WS-Meta-Seen: 1')", r'"a\nb\n"', "a"),
        ("header('Content-Type: application/octet-stream')", r'"a\nb\n"', b"a"),
    ],
)
async def test_what_the_head_asks_for_means_what_it_always_does(
    php_fpm, tmp_path, head, body, expected
) -> None:
    script = f"{head}; echo {body};"
    async with gateway(tmp_path, php_fpm, script) as url, websockets.connect(url) as client:
        await client.send("x")
        first = await receive(client)
        if expected is None:
            assert json.loads(first)["error"]["code"] == 422
        else:
            assert first == expected


async def test_a_line_that_is_no_utf8_ends_the_stream_with_an_error_frame(
    php_fpm, tmp_path
) -> None:
    script = """
        header('Content-Type: text/plain');
        echo "good\\n\\xff\\nnever\\n"; flush(); echo "never\\n";
    """
    async with gateway(tmp_path, php_fpm, script) as url, websockets.connect(url) as client:
        await client.send("x")
        assert await receive(client) == "good"
        assert json.loads(await receive(client))["error"]["code"] == 502
        await client.send("x")
        assert await receive(client) == "good"
