"""Two gateways as processes of their own, and one Redis between them."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.phpfpm import free_port
from tests.redisserver import RedisServer, find_redis
from tests.wsgate import serve

pytestmark = pytest.mark.skipif(find_redis() is None, reason="no redis-server here")

CONFIG = """\
listen: 127.0.0.1:{port}
internal: {{listen: "127.0.0.1:{internal}"}}
upstreams: {{app: {{address: "unix:{folder}/none.sock", document_root: "{folder}"}}}}
routes:
  - {{path: /ws, upstream: app, script: /ws.php, client_subscribe: ["*"], client_publish: ["*"]}}
channels:
  - {{match: "room.*", presence: on, history: {{size: 1000, ttl: 10m}}}}
broker: {{type: redis, url: "{redis}"}}
sources:
  - {{type: redis, url: "{redis}", match: "stock.*", prefix: "app:"}}
"""


class Node:
    """One gateway."""

    def __init__(self, folder: Path, redis: str) -> None:
        self.port, self.internal = free_port(), free_port()
        self.file = folder / f"{self.port}.yaml"
        self.file.write_text(
            CONFIG.format(port=self.port, internal=self.internal, folder=folder, redis=redis)
        )
        self.process: asyncio.subprocess.Process

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.internal}"


class Client:
    """A socket that speaks wsgate.v1.json."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.id = ""
        self._unasked: list[dict[str, Any]] = []

    async def receive(self, **wanted: Any) -> dict[str, Any]:
        """The first message that has these keys and was not received yet; others are kept."""
        for place, kept in enumerate(self._unasked):
            if all(kept.get(key) == value for key, value in wanted.items()):
                return self._unasked.pop(place)
        async with asyncio.timeout(60):
            while True:
                message: dict[str, Any] = json.loads(await self.socket.recv())
                if all(message.get(key) == value for key, value in wanted.items()):
                    return message
                self._unasked.append(message)

    async def ask(self, **request: Any) -> dict[str, Any]:
        await self.socket.send(json.dumps({"id": 1, **request}))
        return await self.receive(id=1)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def nodes(tmp_path, redis, http) -> AsyncIterator[tuple[Node, Node]]:
    pair = Node(tmp_path, redis.url), Node(tmp_path, redis.url)
    async with AsyncExitStack() as stack:
        for node in pair:
            node.process = await stack.enter_async_context(serve(node.file))
        for node in pair:
            await ready(http, node)
        yield pair


async def ready(http: aiohttp.ClientSession, node: Node) -> None:
    async with asyncio.timeout(20):
        while True:
            async with http.get(f"{node.api}/health/ready") as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.05)


async def client(stack: AsyncExitStack, node: Node) -> Client:
    socket = await stack.enter_async_context(
        connect(f"ws://127.0.0.1:{node.port}/ws", subprotocols=[Subprotocol("wsgate.v1.json")])
    )
    found = Client(socket)
    found.id = json.loads(await socket.recv())["connected"]["id"]
    return found


async def test_what_is_published_on_one_arrives_on_the_other_in_order(nodes, http) -> None:
    first, second = nodes
    async with AsyncExitStack() as stack:
        near, far = await client(stack, first), await client(stack, second)
        for each in (near, far):
            assert "subscribed" in await each.ask(subscribe="room.1")

        for n in range(100):
            node = nodes[n % 2]
            async with http.post(f"{node.api}/channels/room.1", json=n) as answer:
                assert answer.status == 201
                assert (await answer.json())["subscribers"] == 2

        for each in (near, far):
            heard = [await each.receive(channel="room.1", data=n) for n in range(100)]
            assert [message["offset"] for message in heard] == list(range(1, 101))

        # A push by the id of a connection works whichever node is asked.
        async with http.post(f"{first.api}/connections/{far.id}", json="hello") as answer:
            assert answer.status in (200, 202)
        pushed = json.loads(await asyncio.wait_for(far.socket.recv(), 10))
        assert "hello" in json.dumps(pushed)
        async with http.get(f"{second.api}/channels/room.1/presence") as answer:
            assert {each["id"] for each in (await answer.json())["clients"]} == {near.id, far.id}


async def test_what_an_application_publishes_in_redis_arrives_on_both(nodes, redis) -> None:
    async with AsyncExitStack() as stack:
        clients = [await client(stack, node) for node in nodes]
        for each in clients:
            assert "subscribed" in await each.ask(subscribe="stock.AAPL")

        assert redis.command("PUBLISH", "app:stock.AAPL", '{"price":1}') == b":2\r\n"

        for each in clients:
            message = await each.receive(channel="stock.AAPL")
            assert message["data"] == '{"price":1}'


async def test_one_that_is_killed_takes_its_own_members_with_it_and_nobody_else(
    nodes, http
) -> None:
    """Whoever was on it is gone for the others within a minute; in between nothing stands still."""
    first, second = nodes
    async with AsyncExitStack() as stack:
        going, staying = await client(stack, first), await client(stack, second)
        await staying.ask(subscribe="room.1")
        await going.ask(subscribe="room.1")
        assert (await staying.receive(channel="room.1"))["join"]["id"] == going.id

        first.process.kill()
        await first.process.wait()

        published = await staying.ask(publish="room.1", data="still here")
        assert "published" in published
        await staying.receive(channel="room.1", data="still here")
        async with http.post(f"{second.api}/connections/{going.id}", json=1) as answer:
            assert answer.status == 410
        gone = await staying.receive(channel="room.1")
        assert gone["leave"]["id"] == going.id
        async with http.get(f"{second.api}/channels/room.1/presence") as answer:
            assert [each["id"] for each in (await answer.json())["clients"]] == [staying.id]
