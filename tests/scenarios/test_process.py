"""The command as a process: starting, what is said when it cannot, ending in order, bursts."""

import asyncio
import json
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake

from tests.inprocess import DO_AS_TOLD, EVENTS, ask, closed
from tests.phpfpm import PhpFpm, free_port
from tests.wsgate import serve

COMMAND = [sys.executable, "-m", "gateway.cli.main"]


@pytest.fixture
def write(php: PhpFpm, tmp_path: Path) -> Callable[..., tuple[Path, int]]:
    """Writes a configuration; its file and its port."""
    php.script("ws.php", DO_AS_TOLD)
    (php.document_root / "events.log").unlink(missing_ok=True)

    def written(**changes: Any) -> tuple[Path, int]:
        port = free_port()
        upstream = {
            "address": php.address,
            "document_root": str(php.document_root),
            "max_connections": 3,
            **changes.pop("upstream", {}),
        }
        document = {
            "listen": f"127.0.0.1:{port}",
            "internal": {"listen": f"unix:{tmp_path}/internal"},
            "upstreams": {"app": upstream},
            "routes": [
                {"path": "/ws", "upstream": "app", "script": "/ws.php", "events": EVENTS},
                {"path": "/quick", "upstream": "app", "script": "/quick.php"},
            ],
            "shutdown": {"timeout": "6s", "spread": "0s"},
            **changes,
        }
        file = tmp_path / "wsgate.yaml"
        file.write_text(json.dumps(document))
        return file, port

    return written


def client_of(port: int, path: str = "/ws") -> connect:
    return connect(f"ws://127.0.0.1:{port}{path}", compression=None, proxy=None)


class TestEnding:
    @asynccontextmanager
    async def serving(
        self, file: Path, port: int
    ) -> AsyncIterator[tuple[asyncio.subprocess.Process, ClientConnection]]:
        async with serve(file) as process, client_of(port) as client:
            yield process, client

    async def test_a_running_request_is_answered_then_the_client_told_to_come_back(
        self, write: Callable[..., tuple[Path, int]], php: PhpFpm
    ) -> None:
        file, port = write()
        async with self.serving(file, port) as (process, client), client_of(port) as idle:
            await client.send("usleep(600000); echo 'answered';")
            await client.send("usleep(100000); echo 'answered too';")
            await asyncio.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            assert await closed(idle) == (1012, "restart")
            with pytest.raises((OSError, InvalidHandshake)):
                await client_of(port)
            assert await client.recv() == "answered"
            assert await client.recv() == "answered too"
            assert await closed(client) == (1012, "restart")
            assert await asyncio.wait_for(process.wait(), 10) == 0
        events = (php.document_root / "events.log").read_text().splitlines()
        assert [json.loads(line)["body"]["code"] for line in events] == [1012, 1012]

    async def test_what_cannot_be_answered_in_time_is_closed_unexecuted(
        self, write: Callable[..., tuple[Path, int]], tmp_path: Path
    ) -> None:
        mark = tmp_path / "executed"
        file, port = write(shutdown={"timeout": "1s", "spread": "0s"})
        async with self.serving(file, port) as (process, client):
            await client.send("sleep(3);")
            await client.send(f"touch('{mark}');")
            await asyncio.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            assert (await closed(client))[0] == 1012
            assert await asyncio.wait_for(process.wait(), 10) == 0
        await asyncio.sleep(2.5)
        assert not mark.exists()

    async def test_a_second_signal_ends_it_at_once(
        self, write: Callable[..., tuple[Path, int]]
    ) -> None:
        file, port = write()
        async with self.serving(file, port) as (process, client):
            await client.send("sleep(4);")
            await asyncio.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.3)
            assert process.returncode is None
            process.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(process.wait(), 3) == 0

    async def test_a_client_that_left_is_still_worked_for(
        self, write: Callable[..., tuple[Path, int]], php: PhpFpm, tmp_path: Path
    ) -> None:
        """What it had sent is executed and its end told, though nobody is connected any more."""
        mark = tmp_path / "executed"
        file, port = write()
        async with serve(file) as process:
            client = await client_of(port)
            await client.send("usleep(400000);")
            await client.send(f"touch('{mark}');")
            await client.close()
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 10) == 0
        assert mark.exists()
        events = (php.document_root / "events.log").read_text().splitlines()
        assert [json.loads(line)["body"]["code"] for line in events] == [1000]


async def test_a_reload_keeps_sockets_and_a_bad_file_keeps_the_old_one(
    write: Callable[..., tuple[Path, int]],
) -> None:
    file, port = write()
    good = json.loads(file.read_text())
    async with serve(file) as process, client_of(port) as client:
        assert await ask(client, "echo $_SERVER['APP_ENV'] ?? 'none';") == "none"
        good["upstreams"]["app"]["params"] = {"APP_ENV": "new"}
        for text in ("routes: [nonsense", json.dumps(good)):
            file.write_text(text)
            process.send_signal(signal.SIGHUP)
            await asyncio.sleep(0.3)
        assert await ask(client, "echo $_SERVER['APP_ENV'] ?? 'none';") == "new"
        del good["routes"][0]
        file.write_text(json.dumps(good))
        process.send_signal(signal.SIGHUP)
        assert (await closed(client))[0] == 1012


class TestBadInput:
    """Each mistake has an error that names the place and the cure."""

    def fails(self, *arguments: str) -> str:
        done = subprocess.run(
            [*COMMAND, "serve", *arguments], capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        return done.stderr

    def test_no_file(self, tmp_path: Path) -> None:
        assert "no such file" in self.fails("-c", str(tmp_path / "none.yaml"))

    def test_no_yaml(self, tmp_path: Path) -> None:
        file = tmp_path / "wsgate.yaml"
        file.write_text("a: b: c\n  - x: [")
        assert f"{file}:1" in self.fails("-c", str(file))

    def test_an_unknown_key(self, write: Callable[..., tuple[Path, int]]) -> None:
        file, _ = write(upstraems={})
        said = self.fails("-c", str(file))
        assert "upstraems" in said
        assert "upstreams" in said

    def test_a_port_that_is_taken(self, write: Callable[..., tuple[Path, int]]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            taken = f"127.0.0.1:{other.getsockname()[1]}"
            file, _ = write(listen=taken)
            said = self.fails("-c", str(file))
        assert f"cannot listen on {taken}" in said
        assert "choose another" in said

    def test_an_open_api_without_a_key(self, write: Callable[..., tuple[Path, int]]) -> None:
        file, _ = write(internal={"listen": "0.0.0.0:8081"})
        assert "internal.api_key" in self.fails("-c", str(file))

    def test_a_param_that_php_must_not_be_sent(
        self, write: Callable[..., tuple[Path, int]]
    ) -> None:
        file, _ = write(upstream={"params": {"PHP_VALUE": "x"}})
        assert "PHP_VALUE must not be sent to PHP" in self.fails("-c", str(file))

    async def told(self, file: Path, port: int, path: str = "/quick") -> tuple[Any, str]:
        """The error frame that a client gets, and what the operator reads."""
        async with serve(file) as process:
            async with client_of(port, path) as client:
                frame = await ask(client, "x")
            process.send_signal(signal.SIGTERM)
            _, said = await asyncio.wait_for(process.communicate(), 15)
        return json.loads(frame)["error"], said.decode()

    async def test_no_php_fpm_at_the_address(
        self, write: Callable[..., tuple[Path, int]], tmp_path: Path
    ) -> None:
        file, port = write(upstream={"address": f"unix:{tmp_path}/none", "retry_for": "0s"})
        error, said = await self.told(file, port)
        assert error["type"] == "upstream_unavailable"
        assert f"{tmp_path}/none" in said
        assert "is php-fpm running" in said

    async def test_no_such_script(self, write: Callable[..., tuple[Path, int]]) -> None:
        file, port = write(upstream={"document_root": "/nowhere"})
        error, said = await self.told(file, port)
        assert (error["code"], error["type"]) == (404, "not_found")
        assert "document_root or script is wrong" in said

    async def test_a_script_of_a_forbidden_ending(
        self, write: Callable[..., tuple[Path, int]], php: PhpFpm
    ) -> None:
        php.script("quick.txt", "echo 1;")
        file, port = write()
        document = json.loads(file.read_text())
        document["routes"][1]["script"] = "/quick.txt"
        file.write_text(json.dumps(document))
        error, said = await self.told(file, port)
        assert (error["code"], error["type"]) == (403, "forbidden")
        assert "security.limit_extensions" in said

    async def test_what_php_writes_to_stderr_is_logged_escaped(
        self, write: Callable[..., tuple[Path, int]], php: PhpFpm
    ) -> None:
        php.script("quick.php", 'error_log("\\x1b[2Jforged\\nline"); http_response_code(500);')
        file, port = write(log={"format": "json"})
        error, said = await self.told(file, port)
        assert error["type"] == "upstream_error"
        lines = [json.loads(line) for line in said.splitlines()]
        (found,) = [line for line in lines if line["event"] == "php wrote to stderr"]
        assert found["connection"]
        assert found["route"] == "quick"
        assert "\x1b" not in found["text"]


BURST = """
import asyncio, sys
from websockets.asyncio.client import connect

async def main(url, count):
    clients = []
    for _ in range(count // 100):
        clients += await asyncio.gather(*(
            connect(url, compression=None, proxy=None, ping_interval=None, open_timeout=60)
            for _ in range(100)
        ))
    async def ask(number):
        await clients[number].send(str(number))
        return await asyncio.wait_for(clients[number].recv(), 60)
    answers = await asyncio.gather(*map(ask, range(count)))
    print(sum(answer == f"[{number}]" for number, answer in enumerate(answers)))
    for client in clients:
        client.transport.abort()

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


async def test_five_thousand_at_the_same_instant_are_all_answered(
    write: Callable[..., tuple[Path, int]], php: PhpFpm
) -> None:
    """Four children, 2 ms each: nothing waits in php-fpm's backlog, nothing is lost."""
    wanted = 5000
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    count = wanted if files > wanted + 200 else (files - 200) // 100 * 100
    php.script("quick.php", "usleep(2000); echo '[', file_get_contents('php://input'), ']';")
    file, port = write(upstream={"queue_timeout": "60s", "max_connections": 4})
    async with serve(file):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            BURST,
            f"ws://127.0.0.1:{port}/quick",
            str(count),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await asyncio.wait_for(process.communicate(), 100)
    assert int(out) == count
