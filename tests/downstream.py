"""A worker with routes for event streams and long polls, and an EventSource without a browser."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.brokers.memory import MemoryBroker
from gateway.channels.publication import Message
from gateway.channels.publishing import Source
from gateway.clock import ManualClock
from gateway.config.loading import parse
from gateway.server.worker import Worker

KINDS = ["websocket", "sse", "longpoll"]
ROUTES: list[dict[str, Any]] = [
    {"path": "/kept/{name}", "subscribe": ["kept.{name}"], "transports": KINDS},
    {"path": "/both", "subscribe": ["kept.a", "kept.b"], "transports": KINDS},
    {"path": "/plain", "subscribe": ["plain"], "transports": KINDS},
    {"path": "/explicit", "subscribe": ["explicit"], "transports": KINDS},
    {"path": "/one", "subscribe": ["one"], "transports": KINDS},
    {"path": "/websocket"},
    {"path": "/stream", "transports": ["sse"]},
]
CHANNELS = [
    {"match": "kept.*", "history": {"size": 4, "ttl": "1h"}},
    {"match": "explicit", "create": "explicit"},
    {"match": "one", "max_subscribers": 1},
]


class Gateway:
    """A worker on free loopback ports."""

    def __init__(self, worker: Worker, port: int, clock: ManualClock) -> None:
        self.worker = worker
        self.port = port
        self.clock = clock

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def say(self, channel: str, *texts: str | bytes) -> None:
        for text in texts:
            data, kind = (text, "image/png") if isinstance(text, bytes) else (text.encode(), "")
            message = Message(data, kind or "text/plain; charset=utf-8")
            await self.worker.channels.publish(channel, message, source=Source.API)

    async def inside(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.worker.services.directory) != count:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.002)


@asynccontextmanager
async def gateway(**client: Any) -> AsyncIterator[Gateway]:
    document = {
        "internal": {"listen": "127.0.0.1:1"},
        "client": client,
        "routes": [{"events": [], **route} for route in ROUTES],
        "channels": CHANNELS,
        "shutdown": {"timeout": "2s", "spread": "0s"},
    }
    clock = ManualClock()
    config = parse(json.dumps(document), name="test.yaml", folder=Path())
    worker = Worker(config, MemoryBroker(), clock=clock)
    public = socket.create_server(("127.0.0.1", 0))
    internal = socket.create_server(("127.0.0.1", 0))
    await worker.start([public], [internal])
    try:
        yield Gateway(worker, public.getsockname()[1], clock)
    finally:
        await worker.stop()


class Stream:
    """What an EventSource does, without a browser."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.last_id = ""
        self.head = b""

    @classmethod
    async def open(cls, port: int, path: str, last_id: str = "") -> "Stream":
        stream = cls(*await asyncio.open_connection("127.0.0.1", port))
        resume = f"Last-Event-ID: {last_id}\r\n" if last_id else ""
        head = f"GET {path} HTTP/1.1\r\nHost: here\r\nAccept: text/event-stream\r\n{resume}\r\n"
        stream._writer.write(head.encode())
        async with asyncio.timeout(10):
            stream.head = await stream._reader.readuntil(b"\r\n\r\n")
        return stream

    async def blocks(self) -> AsyncIterator[dict[str, str]]:
        while True:
            async with asyncio.timeout(10):
                block = (await self._reader.readuntil(b"\n\n")).decode()
            fields: dict[str, str] = {}
            for line in block.rstrip("\n").splitlines():
                name, _, value = line.partition(": ")
                if name == "data":
                    value = "\n".join(filter(None, [fields.get("data"), value]))
                fields[name] = value
            self.last_id = fields.get("id", self.last_id)
            yield fields

    async def event(self) -> dict[str, str]:
        async for fields in self.blocks():
            if "data" in fields:
                return fields
        raise AssertionError

    async def data(self, count: int) -> list[str]:
        return [(await self.event())["data"] for _ in range(count)]

    async def placed(self) -> "Stream":
        """Read up to the first id, which says where the stream begins."""
        async for fields in self.blocks():
            if "id" in fields:
                break
        return self

    async def rest(self) -> bytes:
        async with asyncio.timeout(10):
            return await self._reader.read()

    def close(self) -> None:
        self._writer.close()
