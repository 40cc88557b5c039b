"""A gateway process to be mistreated, and the tools to do it; php-fpm is a real one."""

import asyncio
import contextlib
import json
import resource
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from websockets.asyncio.client import ClientConnection, connect

from tests.inprocess import DO_AS_TOLD
from tests.phpfpm import PhpFpm, free_port

DEADLINE = 20.0

UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Victim:
    """`wsgate serve` on free ports; an asynchronous context manager. Its log is a file."""

    def __init__(
        self,
        php: PhpFpm,
        folder: Path,
        *,
        client: dict[str, Any] | None = None,
        route: dict[str, Any] | None = None,
        open_files: int | None = None,
        log_to: int | None = None,
        **more: Any,
    ) -> None:
        php.script("ws.php", DO_AS_TOLD)
        self.port, self.internal_port = free_port(), free_port()
        self.log_file = folder / "log"
        self.file = folder / "wsgate.yaml"
        self.file.write_text(
            json.dumps(
                {
                    "listen": f"127.0.0.1:{self.port}",
                    "internal": {"listen": f"127.0.0.1:{self.internal_port}"},
                    "upstreams": {
                        "app": {"address": php.address, "document_root": str(php.document_root)}
                    },
                    "client": client or {},
                    "routes": [
                        {"name": "t", "path": "/ws", "script": "/ws.php", "upstream": "app"}
                        | (route or {})
                    ],
                    "shutdown": {"timeout": "5s", "spread": "0s"},
                    **more,
                }
            )
        )
        self._open_files = open_files
        self._log_to = log_to

    async def __aenter__(self) -> Self:
        limit = self._open_files

        def limit_files() -> None:
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

        with self.log_file.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "gateway.cli.main", "serve", "-c", str(self.file)),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log if self._log_to is None else self._log_to,
                preexec_fn=limit_files,
            )
        try:
            await self.until(self._answers)
        except BaseException:
            self.process.kill()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), DEADLINE)
        except TimeoutError:
            self.process.kill()
            raise

    async def _answers(self) -> bool:
        assert self.process.returncode is None, self.log
        try:
            return await self.get("/health/ready") == 200
        except aiohttp.ClientError:
            return False

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    @property
    def open_files(self) -> int:
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())

    @property
    def ticks(self) -> int:
        """Processor time so far, in hundredths of a second."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    @property
    def resident(self) -> int:
        """Bytes of memory."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * resource.getpagesize()

    async def get(self, path: str) -> int:
        """The status of an answer of the internal listener."""
        return (await self.read(path))[0]

    async def read(self, path: str) -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.internal_port}{path}"
        limit = aiohttp.ClientTimeout(DEADLINE)
        async with aiohttp.ClientSession(timeout=limit) as session, session.get(url) as response:
            return response.status, await response.text()

    async def metric(self, line: str) -> float:
        """The value of a series, written as in the exposition; 0 where it is not there."""
        _, text = await self.read("/metrics")
        found = [each for each in text.splitlines() if each.startswith(line + " ")]
        return float(found[0].rpartition(" ")[2]) if found else 0.0

    def connect(self, path: str = "/ws", **more: Any) -> connect:
        options = {"compression": None, "proxy": None, "max_size": None, **more}
        return connect(f"ws://127.0.0.1:{self.port}{path}", open_timeout=DEADLINE, **options)

    async def tcp(self, data: bytes = b"") -> Streams:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        return reader, writer

    async def raw(self, path: str = "/ws", more: str = "") -> Streams:
        """A WebSocket that does nothing by itself."""
        reader, writer = await self.tcp(UPGRADE.format(path=path, more=more).encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE)
        assert b" 101 " in head, head
        return reader, writer

    async def until(self, holds: Callable[[], Any], within: float = DEADLINE) -> None:
        """Wait until a condition, plain or awaited, is fulfilled."""
        async with asyncio.timeout(within):
            while True:
                answer = holds()
                if asyncio.iscoroutine(answer):
                    answer = await answer
                if answer:
                    return
                await asyncio.sleep(0.02)


async def rest(streams: Streams) -> bytes:
    """Everything until the end of the socket, however it ends."""
    reader, writer = streams
    data = b""
    with contextlib.suppress(ConnectionError):
        while chunk := await asyncio.wait_for(reader.read(65536), DEADLINE):
            data += chunk
    writer.close()
    return data


def drop(crowd: list[Streams]) -> None:
    for _, writer in crowd:
        writer.transport.abort()


@contextlib.asynccontextmanager
async def healthy(victim: Victim, count: int = 5) -> AsyncIterator[None]:
    """Clients that echo all the while, and must be answered rightly every time."""
    done = asyncio.Event()

    async def echo(number: int) -> int:
        turns = 0
        async with victim.connect() as client:
            while not (done.is_set() and turns):
                await client.send(f"echo '{number}.{turns}';")
                assert await asyncio.wait_for(client.recv(), DEADLINE) == f"{number}.{turns}"
                turns += 1
                await asyncio.sleep(0.02)
        return turns

    tasks = [asyncio.create_task(echo(number)) for number in range(count)]
    try:
        yield
    finally:
        done.set()
        turns = await asyncio.gather(*tasks)
    assert all(turns)


async def said(client: ClientConnection, message: str | bytes) -> Any:
    """Send, and the answer."""
    await client.send(message)
    return await asyncio.wait_for(client.recv(), DEADLINE)
