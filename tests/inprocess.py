"""The whole gateway inside the test's own event loop, before a real php-fpm.

The scripts do what a frame says: `DO_AS_TOLD` evaluates a message as PHP, takes what to do at
connect from the query, and writes a line for every other event.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect

from gateway.brokers.memory import MemoryBroker
from gateway.config.loading import parse
from gateway.config.units import listen
from gateway.server.listeners import bind, release
from gateway.server.worker import Worker
from tests.phpfpm import PhpFpm

DO_AS_TOLD = r"""
$body = file_get_contents('php://input');
switch ($_SERVER['WS_EVENT']) {
    case 'message':
        eval($body);
        break;
    case 'connect':
        eval($_GET['connect'] ?? '');
        break;
    default:
        $line = json_encode(['event' => $_SERVER['WS_EVENT'], 'id' => $_SERVER['WS_CONNECTION_ID'],
            'body' => json_decode($body), 'at' => microtime(true)]);
        file_put_contents(__DIR__ . '/events.log', $line . "\n", FILE_APPEND);
}
"""

EVENTS = ["connect", "message", "disconnect"]


class Gateway:
    """A worker on free loopback ports; an asynchronous context manager."""

    def __init__(
        self,
        php: PhpFpm,
        *,
        upstream: dict[str, Any] | None = None,
        client: dict[str, Any] | None = None,
        routes: Iterable[dict[str, Any]] = (),
        more_upstreams: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        self.php = php
        self.sockets = [bind(listen("127.0.0.1:0")) for _ in range(2)]
        self.port, self.internal_port = (each.getsockname()[1] for each in self.sockets)
        app = {
            "address": php.address,
            "document_root": str(php.document_root),
            "max_connections": 3,
            **(upstream or {}),
        }
        php.script("ws.php", DO_AS_TOLD)
        default = {"name": "test", "path": "/ws", "script": "/ws.php", "events": EVENTS}
        self.document = {
            "listen": f"127.0.0.1:{self.port}",
            "internal": {"listen": f"127.0.0.1:{self.internal_port}"},
            "upstreams": {"app": app, **(more_upstreams or {})},
            "client": client or {},
            "routes": [{"upstream": "app", **route} for route in (*routes, default)],
            "shutdown": {"timeout": "10s", "spread": "0s"},
            **more,
        }
        self.config = parse(json.dumps(self.document), name="test.yaml", folder=Path())

    async def __aenter__(self) -> Self:
        self.worker = Worker(self.config, MemoryBroker())
        await self.worker.start(self.sockets[:1], self.sockets[1:])
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        hurry = asyncio.Event()
        hurry.set()
        await self.worker.stop(hurry)
        for listener in self.sockets:
            release(listener)

    def url(self, path: str = "/ws", **query: str) -> str:
        return f"ws://127.0.0.1:{self.port}{path}" + (f"?{urlencode(query)}" if query else "")

    def connect(self, path: str = "/ws", on_connect: str = "", **more: Any) -> connect:
        """A strict client; `on_connect` is what PHP does when it is asked to let it in."""
        query = {"connect": on_connect} if on_connect else {}
        options = {"compression": None, "proxy": None, "max_size": None, **more}
        return connect(self.url(path, **query), **options)

    @contextlib.asynccontextmanager
    async def crowd(
        self, count: int, path: str = "/ws", **more: Any
    ) -> AsyncIterator[list[ClientConnection]]:
        """Many clients at once."""
        clients = await asyncio.gather(*(self.connect(path, **more) for _ in range(count)))
        try:
            yield list(clients)
        finally:
            await asyncio.gather(*(client.close() for client in clients))

    @property
    def pool(self) -> Any:
        """The pool's statistics."""
        return self.worker.runtime.upstreams["app"].pool.statistics()

    @property
    def events(self) -> list[dict[str, Any]]:
        """What PHP heard besides messages and connects."""
        path = self.php.document_root / "events.log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    async def until(self, fulfilled: Callable[[], object], within: float = 10.0) -> None:
        """Wait for something that PHP or a socket brings about."""
        deadline = time.monotonic() + within
        while not fulfilled():
            assert time.monotonic() < deadline, "it did not happen in time"
            await asyncio.sleep(0.005)


async def ask(client: ClientConnection, code: str | bytes, within: float = 10.0) -> Any:
    """Have PHP do something; the frame that comes back."""
    await client.send(code)
    return await asyncio.wait_for(client.recv(), within)


async def closed(client: ClientConnection, within: float = 10.0) -> tuple[int | None, str | None]:
    """Wait for the end; its code and reason."""
    async with asyncio.timeout(within):
        await client.wait_closed()
    return client.close_code, client.close_reason
