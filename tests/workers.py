"""The gateway as a process with any number of workers, stopped by process id."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml
from websockets.asyncio.client import ClientConnection, connect

from tests.phpfpm import PhpFpm, free_port

DEADLINE = 30.0
# Three interpreters import everything, on a machine that may have other things to do.
_START = 60.0
_RUN = """
import sys
from gateway.config.loading import load
file = sys.argv[1]
config = load(file)
if config.workers > 1:
    from gateway.server.many import run_many
    sys.exit(run_many(config, load=lambda: load(file), watchdog=int(sys.argv[2])))
from gateway.server.run import run
sys.exit(run(config, load=lambda: load(file)))
"""

SCRIPT = r"""
$body = file_get_contents('php://input');
if ($_SERVER['WS_EVENT'] === 'disconnect') {
    $line = json_encode(['id' => $_SERVER['WS_CONNECTION_ID'], 'end' => json_decode($body)]);
    file_put_contents(__DIR__ . '/disconnects.log', $line . "\n", FILE_APPEND);
    http_response_code(204);
    exit;
}
$asked = json_decode($body, true);
$began = microtime(true);
usleep((int) (1000 * ($asked['ms'] ?? 0)));
header('Content-Type: application/json');
echo json_encode(['began' => $began, 'ended' => microtime(true)]);
"""


class Client:
    """A client of the json wire, which knows the worker that holds it."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.id = ""

    @property
    def node(self) -> str:
        return self.id[:8]

    async def receive(self) -> dict[str, Any]:
        async with asyncio.timeout(DEADLINE):
            message: dict[str, Any] = json.loads(await self.socket.recv())
            return message

    async def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The next message of which that is true; others are dropped."""
        while not holds(message := await self.receive()):
            pass
        return message

    async def ask(self, **message: Any) -> dict[str, Any]:
        """Send with an id and wait for what bears it."""
        await self.socket.send(json.dumps({"id": "q", **message}))
        return await self.until(lambda each: each.get("id") == "q")

    async def closed(self) -> int:
        async with asyncio.timeout(DEADLINE):
            await self.socket.wait_closed()
        return self.socket.close_code or 0


class Workers:
    """An asynchronous context manager; `status`, `call` and `connect` reach any worker."""

    def __init__(
        self,
        php: PhpFpm,
        folder: Path,
        *,
        workers: int = 3,
        watchdog: int = 10,
        max_connections: int = 4,
        **more: Any,
    ) -> None:
        self.php = php
        php.script("ws.php", SCRIPT)
        self.port, self.internal = free_port(), free_port()
        self.file = folder / "wsgate.yaml"
        self.log = folder / "log"
        self.watchdog = watchdog
        self.clients: list[Client] = []
        self.config: dict[str, Any] = {
            "listen": f"127.0.0.1:{self.port}",
            "internal": {"listen": f"127.0.0.1:{self.internal}"},
            "workers": workers,
            "upstreams": {
                "app": {
                    "address": php.address,
                    "document_root": str(php.document_root),
                    "max_connections": max_connections,
                }
            },
            "routes": [
                {
                    "name": "chat",
                    "path": "/ws/{room}",
                    "upstream": "app",
                    "script": "/ws.php",
                    "events": ["message", "disconnect"],
                    "subscribe": ["room.{room}"],
                    "client_subscribe": ["room.*"],
                    "client_publish": ["room.*"],
                    "concurrency": 32,
                }
            ],
            "channels": [
                {"match": "room.*", "history": {"size": 100, "ttl": "5m"}, "presence": True}
            ],
            "shutdown": {"timeout": "10s", "spread": "200ms"},
            **more,
        }

    async def __aenter__(self) -> Self:
        self.write()
        (self.php.document_root / "disconnects.log").unlink(missing_ok=True)
        with self.log.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _RUN, str(self.file), str(self.watchdog)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.http = aiohttp.ClientSession(
            f"http://127.0.0.1:{self.internal}", timeout=aiohttp.ClientTimeout(DEADLINE)
        )
        try:
            await self.logs("serving", within=_START)
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.gather(*(client.socket.close() for client in self.clients))
        await self.http.close()
        if self.process.returncode is None:
            self.process.terminate()
        await asyncio.wait_for(self.process.wait(), DEADLINE)

    def write(self, text: str | None = None) -> None:
        self.file.write_text(yaml.safe_dump(self.config) if text is None else text)

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    async def logs(self, *words: str, count: int = 1, within: float = DEADLINE) -> str:
        """Wait for lines that have all the words."""

        def lines() -> list[str]:
            all_lines = self.log.read_text(errors="replace").splitlines()
            return [line for line in all_lines if all(word in line for word in words)]

        try:
            await until(
                lambda: len(lines()) >= count or self.process.returncode is not None, within
            )
            assert len(lines()) >= count
        except (AssertionError, TimeoutError):
            raise AssertionError(self.log.read_text(errors="replace")[-5000:]) from None
        return lines()[-1]

    async def connect(self, room: str = "1", **options: Any) -> Client:
        socket = await connect(
            f"ws://127.0.0.1:{self.port}/ws/{room}",
            subprotocols=["wsgate.v1.json"],  # type: ignore[list-item] # a plain string will do
            proxy=None,
            ping_interval=None,
            open_timeout=DEADLINE,
            **options,
        )
        client = Client(socket)
        self.clients.append(client)
        client.id = (await client.until(lambda each: "connected" in each))["connected"]["id"]
        return client

    async def spread(self, room: str = "1", *, workers: int = 3) -> dict[str, list[Client]]:
        """Connect until every worker holds somebody: clients by worker."""
        found: dict[str, list[Client]] = {}
        async with asyncio.timeout(DEADLINE):
            while len(found) < workers:
                client = await self.connect(room)
                found.setdefault(client.node, []).append(client)
        return found

    async def call(
        self, method: str, path: str, data: bytes | None = None, **options: Any
    ) -> tuple[int, Any]:
        """A call to the internal listener, on a connection of its own: any worker answers."""
        headers = {"Connection": "close", "Content-Type": "application/json"}
        async with self.http.request(method, path, data=data, headers=headers, **options) as answer:
            return answer.status, await answer.json(content_type=None)

    async def metric(self, name: str) -> float:
        async with self.http.get("/metrics", headers={"Connection": "close"}) as answer:
            lines = (await answer.text()).splitlines()
        values = [float(line.split()[-1]) for line in lines if line.startswith(name)]
        assert values, name
        return sum(values)

    async def uptime(self) -> int:
        _, status = await self.call("GET", "/status")
        return int(status["uptime"])

    async def pids(self) -> list[int]:
        """The workers' processes; none where the one process is no supervisor's."""
        _, status = await self.call("GET", "/status")
        return [process["pid"] for process in status.get("processes", [])]

    async def pid_of(self, clients: int) -> int:
        """The process that holds so many clients."""
        _, status = await self.call("GET", "/status")
        found = [p["pid"] for p in status["processes"] if p["connections"] == clients]
        return int(found[0])

    async def all_serve(self) -> None:
        async with asyncio.timeout(DEADLINE):
            while True:
                _, status = await self.call("GET", "/status")
                if all(process["state"] == "serving" for process in status["processes"]):
                    return
                await asyncio.sleep(0.1)

    def disconnects(self) -> list[dict[str, Any]]:
        file = self.php.document_root / "disconnects.log"
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(line) for line in lines]


async def until(holds: Callable[[], bool], within: float = DEADLINE) -> None:
    """Wait for other processes until something holds."""
    async with asyncio.timeout(within):
        while not holds():  # noqa: ASYNC110 - other processes set no event
            await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether the process runs; one that nobody has taken leave of yet does not."""
    with contextlib.suppress(OSError):
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"
    return False
