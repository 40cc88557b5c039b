"""Queries at a subscribe and an unsubscribe: the real gateway, its workers, a real PostgreSQL."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from websockets.asyncio.client import ClientConnection, connect

from gateway.errors import GatewayError
from gateway.remote.postgres import Database
from tests.phpfpm import free_port
from tests.postgresserver import PostgresServer, find_postgres
from tests.wsgate import serve

pytestmark = pytest.mark.skipif(find_postgres() is None, reason="no PostgreSQL here")

DEADLINE = 30.0
# The example of the documentation is what is tried here.
PAGE = (Path(__file__).parents[2] / "docs/data.md").read_text()
(TABLE,) = re.findall(r"```sql\n(create table watching.*?)```", PAGE, re.DOTALL)
(EXAMPLE,) = re.findall(r"```yaml\n(channels:\n[^`]*on_subscribe.*?)```", PAGE, re.DOTALL)
CHANNEL = yaml.safe_load(EXAMPLE)["channels"][0]
TABLES = (
    "drop table if exists watching, orders",
    TABLE,
    "create table orders (id int primary key, state text)",
    "insert into orders values (7, 'paid'), (8, 'sent')",
)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


class Shop:
    """The gateway and its database, as clients and whoever looks into the table see them."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self.server = server
        self.port, self.internal = free_port(), free_port()
        self.file = folder / "wsgate.yaml"
        self.database = Database(server.dsn, max_connections=1, timeout=10)
        self.process: asyncio.subprocess.Process | None = None

    def write(self, *, workers: int = 1, leave: str = "") -> None:
        channel = {**CHANNEL, "history": {"size": 10, "ttl": "1m"}}
        if leave:
            channel["on_unsubscribe"] = {"postgres": {"dsn": "main", "query": leave}}
        config = {
            "listen": f"127.0.0.1:{self.port}",
            "internal": {"listen": f"127.0.0.1:{self.internal}"},
            "workers": workers,
            "databases": {"main": {"dsn": self.server.dsn, "timeout": "2s"}},
            "routes": [
                {
                    "name": "shop",
                    "path": "/ws/{order}",
                    "events": [],
                    "subscribe": ["order.{order}"],
                    "client_subscribe": ["order.*"],
                    "transports": ["websocket", "sse", "longpoll"],
                    "longpoll_wait": "100ms",
                }
            ],
            "channels": [channel],
            "shutdown": {"timeout": "10s", "spread": 0},
        }
        self.file.write_text(json.dumps(config))

    async def connect(self, order: str = "7", *, wire: str = "") -> ClientConnection:
        protocols: Any = [wire] if wire else None
        url = f"ws://127.0.0.1:{self.port}/ws/{order}"
        options: Any = {"proxy": None, "ping_interval": None, "open_timeout": DEADLINE}
        return await connect(url, subprotocols=protocols, **options)

    async def call(self, method: str, path: str, data: bytes | None = None) -> int:
        url = f"http://127.0.0.1:{self.internal}{path}"
        async with aiohttp.ClientSession() as http, http.request(method, url, data=data) as answer:
            return answer.status

    async def watching(self) -> list[dict[str, Any]]:
        rows = await self.database.rows("select * from watching order by channel", ())
        found: list[dict[str, Any]] = json.loads(rows)
        return found

    async def watched_by(self, count: int) -> list[dict[str, Any]]:
        """Wait until the table has so many rows."""
        found: list[dict[str, Any]] = await self.watching()
        try:
            async with asyncio.timeout(DEADLINE):
                while len(found) != count:
                    found = await self.watching()
        except TimeoutError:
            raise AssertionError(f"{len(found)} rows, expected {count}") from None
        return found


@pytest.fixture
async def shop(server: PostgresServer, tmp_path: Path) -> AsyncIterator[Shop]:
    shop = Shop(server, tmp_path)
    for statement in TABLES:
        await shop.database.rows(statement, ())
    yield shop
    await shop.database.close()


@asynccontextmanager
async def opened(shop: Shop, **options: Any) -> AsyncIterator[Shop]:
    shop.write(**options)
    async with serve(shop.file) as shop.process:
        yield shop


async def told(client: ClientConnection) -> Any:
    return json.loads(await asyncio.wait_for(client.recv(), DEADLINE))


async def ask(client: ClientConnection, **command: Any) -> Any:
    """What comes next with its id, after which what comes by itself can be read."""
    await client.send(json.dumps({"id": "q", **command}))
    while (answer := await told(client)).get("id") != "q":
        pass
    return answer


async def test_with_many_workers_each_kind_of_client_is_noted_and_gets_the_rows(shop: Shop) -> None:
    async with opened(shop, workers=3):
        raw, one = await shop.connect(), await shop.connect("8", wire="wsgate.v1.json")
        assert await told(raw) == [{"id": 7, "state": "paid"}]
        connected = await told(one)
        assert await told(one) == {"channel": "order.8", "data": [{"id": 8, "state": "sent"}]}

        url = f"http://127.0.0.1:{shop.port}/ws/7"
        async with (
            aiohttp.ClientSession() as http,
            http.get(url, headers={"Accept": "text/event-stream"}) as stream,
        ):
            lines: list[bytes] = []
            while not lines or not lines[-1].startswith(b"data"):
                lines.append(await asyncio.wait_for(stream.content.readline(), DEADLINE))
            assert lines[-1] == b'data: [{"id":7,"state":"paid"}]\n'
            # The id that comes before it, with nothing to read, is another event's.
            assert lines[-2] == b"\n"
            async with http.get(url) as poll:
                assert poll.status == 304

            rows = await shop.watched_by(3)
            assert [row["channel"] for row in rows] == ["order.7", "order.7", "order.8"]
            assert rows[2]["connection"] == connected["connected"]["id"]
            assert rows[2]["who"] is None
        await shop.watched_by(2)
        await raw.close()
        await one.close()
        await shop.watched_by(0)


async def test_a_client_and_the_api_join_as_the_route_does(shop: Shop) -> None:
    async with opened(shop):
        client = await shop.connect("1", wire="wsgate.v1.json")
        connection = (await told(client))["connected"]["id"]
        await ask(client, subscribe="order.7")
        assert (await told(client))["data"] == [{"id": 7, "state": "paid"}]
        here = f"/connections/{connection}/channels/order.8"
        assert await shop.call("POST", here) == 200
        assert (await told(client))["data"] == [{"id": 8, "state": "sent"}]
        await shop.watched_by(3)
        assert await shop.call("DELETE", here) == 200
        await shop.watched_by(2)
        await ask(client, unsubscribe="order.7")
        assert [row["channel"] for row in await shop.watched_by(1)] == ["order.1"]
        assert await shop.call("DELETE", "/channels/order.1") == 200
        await shop.watched_by(0)
        await client.wait_closed()


async def test_whatever_a_channel_is_called_it_is_data_and_a_failure_leaves_the_join(
    shop: Shop,
) -> None:
    names = ["order.';drop\ttable", "order.';delete/from/watching;--", 'order."$1', "order.\\'7"]
    async with opened(shop):
        client = await shop.connect("7", wire="wsgate.v1.json")
        await told(client)
        assert "data" in await told(client)
        refused = await ask(client, subscribe=names.pop(0))
        assert refused["error"]["code"] == 400
        for name in names:
            assert (await ask(client, subscribe=name))["subscribed"] == name
            failed = await told(client)
            assert (failed["channel"], failed["error"]["code"]) == (name, 400)
            assert "data" not in failed
        line = json.dumps({"channel": names[0], "data": 1})
        assert await shop.call("POST", "/batch", line.encode()) == 200
        news = await told(client)
        assert (news["channel"], news["data"]) == (names[0], 1)
        # The cast has failed, and with it the note of who watches; the first one stands.
        assert [row["channel"] for row in await shop.watching()] == ["order.7"]
        await client.close()


async def test_any_name_is_bound_as_it_is(shop: Shop) -> None:
    note = "insert into watching values (:wildcard, 'x')"
    names = ["';delete/from/watching;--", '"$1', "\\'", "grüße", "{1,2}", ":connection", "%s"]
    async with opened(shop, leave=note):
        client = await shop.connect("7", wire="wsgate.v1.json")
        for name in names:
            await ask(client, subscribe=f"order.{name}")
            await ask(client, unsubscribe=f"order.{name}")
        rows = await shop.watched_by(1 + len(names))
        await client.close()
    assert {row["channel"] for row in rows} == {*names, "order.7"}


async def test_while_the_database_is_away_one_is_told_so_and_later_all_is_well(shop: Shop) -> None:
    async with opened(shop):
        client = await shop.connect()
        assert await told(client) == [{"id": 7, "state": "paid"}]
        await shop.watched_by(1)
        shop.server.stop()
        try:
            other = await shop.connect(wire="wsgate.v1.json")
            await told(other)
            failed = await told(other)
            assert failed["channel"] == "order.7"
            assert failed["error"]["code"] in (503, 504)
            assert await shop.call("POST", "/channels/order.7", b"news") == 201
            assert (await told(other))["channel"] == "order.7"
        finally:
            shop.server.start()
        async with asyncio.timeout(DEADLINE):
            while True:
                try:
                    await shop.watching()
                except (GatewayError, TimeoutError):
                    continue
                third = await shop.connect()
                if isinstance(await told(third), list):
                    break
                await third.close()
        await shop.watched_by(2)
        await client.close()
        await third.close()
        await other.close()
        await shop.watched_by(0)


STUBBORN = """
create or replace function stubborn() returns trigger language plpgsql as $$ begin
    perform pg_sleep(60);
    return new;
exception when query_canceled then
    perform pg_sleep(1);
    return new;
end $$"""


async def test_a_row_that_is_written_after_the_deadline_is_deleted_nevertheless(shop: Shop) -> None:
    """The delete waits until the server has ended what it was told to cancel."""
    leave = f"with ended as ({CHANNEL['on_unsubscribe']['postgres']['query']})"
    leave += " insert into orders values (9, 'left')"
    hold = "create trigger stubborn before insert on watching for each row execute function"
    for statement in (STUBBORN, f"{hold} stubborn()"):
        await shop.database.rows(statement, ())
    left = "select 1 from orders where id = 9"
    active = "select 1 from pg_stat_activity where state = 'active' and query like '%noted%'"
    async with opened(shop, leave=leave):
        client = await shop.connect()
        await client.close()
        async with asyncio.timeout(DEADLINE):
            while await shop.database.rows(left, ()) == b"[]":
                pass
            while await shop.database.rows(f"{active} and pid <> pg_backend_pid()", ()) != b"[]":
                pass
    assert await shop.watching() == []


async def test_five_hundred_sockets_vanish_at_once_and_every_row_is_deleted(shop: Shop) -> None:
    async with opened(shop, workers=2):
        clients: list[ClientConnection] = []
        for _ in range(10):
            clients += await asyncio.gather(*(shop.connect(str(n % 9)) for n in range(50)))
        await shop.watched_by(500)
        for client in clients:
            client.transport.abort()
        await shop.watched_by(0)
        backends = "select count(*) as n from pg_stat_activity where application_name = 'wsgate'"
        # Three of each worker's four at the most, and the test's own.
        # The cap of each worker's pool, and the test's own.
        assert json.loads(await shop.database.rows(backends, ()))[0]["n"] <= 2 * 4 + 1


async def test_the_end_of_the_gateway_is_the_leave_of_everybody(shop: Shop) -> None:
    async with opened(shop, workers=2):
        clients = await asyncio.gather(*(shop.connect() for _ in range(40)))
        await shop.watched_by(40)
        assert shop.process is not None
        shop.process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(shop.process.wait(), DEADLINE)
        assert await shop.watching() == []
        await asyncio.gather(*(client.close() for client in clients))


async def test_a_reload_takes_new_statements_for_those_who_are_in_already(shop: Shop) -> None:
    async with opened(shop):
        client = await shop.connect()
        await shop.watched_by(1)
        shop.write(leave="update watching set who = 'gone' where connection = :connection")
        assert shop.process is not None
        assert shop.process.stderr is not None
        shop.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(DEADLINE):
            while b"reloaded" not in await shop.process.stderr.readline():
                pass
        await client.close()
        async with asyncio.timeout(DEADLINE):
            while (await shop.watching())[0]["who"] != "gone":
                pass
