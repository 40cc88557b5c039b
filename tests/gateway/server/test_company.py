"""What a worker and the hub say to each other besides channels, also after the socket broke."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from fastcgi import Limits, Pool, parse_address
from gateway.brokers.hub_client import HubClient
from gateway.brokers.hub_server import Hub, address
from gateway.brokers.hub_wire import Op
from gateway.config.client import Client
from gateway.errors import BrokerUnavailableError
from gateway.server.company import Company, Entries
from gateway.server.leases import Leases
from gateway.server.lending import Lending
from gateway.server.office import Office
from gateway.sessions.identity import new_node
from tests.contracts.broker import eventually

THREE = Client.model_validate({"max_connections": 3})
ADDRESS = "192.0.2.1"


class Surroundings:
    def __init__(self) -> None:
        self.place = address()
        self.hub = Hub()
        own = {"wsgate_channels": [[[], 7]]}
        self.office = Office(self.hub, lambda: {"workers": 2, "processes": [], "own": own})
        self.lending = Lending(self.hub)
        self.clients: list[HubClient] = []

    async def client(self) -> HubClient:
        client = HubClient(self.place, new_node())
        self.clients.append(client)
        return client


@pytest.fixture
async def around() -> AsyncIterator[Surroundings]:
    around = Surroundings()
    await around.hub.listen(around.place)
    yield around
    for client in around.clients:
        await client.stop()
    around.lending.stop()
    await around.hub.close()


@pytest.fixture
async def entries(around) -> Entries:
    client = await around.client()
    entries = Entries(client)
    entries.watch(Counter())
    client.on_connected.append(entries.announce)
    await client.start()
    return entries


async def come_in(entries: Entries) -> str:
    entries._here[ADDRESS] += 1
    verdict = await entries.enter(ADDRESS, THREE)
    if verdict:
        go_out(entries)
    return verdict


def go_out(entries: Entries) -> None:
    entries._here[ADDRESS] -= 1
    entries.left(ADDRESS)


async def test_who_leaves_makes_room(around, entries) -> None:
    assert [await come_in(entries) for _ in range(4)] == ["", "", "", "full"]

    go_out(entries)

    await eventually(lambda: around.office.tally.total == 2)
    assert await come_in(entries) == ""


async def test_after_a_broken_socket_the_same_are_inside(around, entries) -> None:
    for _ in range(2):
        await come_in(entries)
    around.hub.drop_connections()
    await eventually(lambda: not around.hub.nodes)
    assert around.office.tally.total == 2
    go_out(entries)

    await eventually(lambda: around.office.tally.total == 1)
    await eventually(lambda: bool(around.hub.nodes))
    assert [await come_in(entries) for _ in range(3)] == ["", "", "full"]


async def test_while_the_hub_is_away_nobody_is_let_in(around, entries) -> None:
    await around.hub.close()
    await eventually(lambda: not around.hub.nodes)

    with pytest.raises(BrokerUnavailableError):
        await entries.enter(ADDRESS, THREE)


async def test_who_gave_up_while_it_was_asked_is_not_inside(around, entries) -> None:
    entries._here[ADDRESS] += 1
    asking = asyncio.ensure_future(entries.enter(ADDRESS, THREE))
    await asyncio.sleep(0)
    go_out(entries)
    await asking

    await eventually(lambda: around.office.tally.total == 0)


async def test_the_dead_workers_counts_stay_and_its_gauges_go(around) -> None:
    first, second = await around.client(), await around.client()
    numbers = {"wsgate_connections": [[[], 3]], "wsgate_deliveries_total": [[[], 10]]}
    for client in (first, second):
        export = msgspec.msgpack.encode({"pid": 1, "connections": 3, "numbers": numbers})
        client.handlers[Op.EXPORT] = lambda _body, export=export: export
    asking = Company(await around.client())
    for client in around.clients:
        await client.start()

    gathered = await asking.gather()
    assert gathered["numbers"]["wsgate_deliveries_total"] == [[[], 20]]
    await first.stop()
    await eventually(lambda: first.node not in around.hub.nodes)
    around.office.bury(first.node)

    numbers = (await asking.gather())["numbers"]
    assert numbers["wsgate_deliveries_total"] == [[[], 20]]
    assert numbers["wsgate_connections"] == [[[], 3]]
    assert numbers["wsgate_channels"] == [[[], 7]]


async def test_a_worker_that_does_not_answer_is_left_out(around) -> None:
    silent = await around.client()
    never: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    silent.handlers[Op.EXPORT] = lambda _body: never
    asking = Company(await around.client())
    for client in around.clients:
        await client.start()

    gathered = await asking.gather()

    assert gathered["numbers"]["wsgate_channels"] == [[[], 7]]
    never.cancel()


class OnePool:
    """As much of the upstreams as leases need."""

    def __init__(self, pool: Pool) -> None:
        self.name = "app"
        self.pool = pool

    def __iter__(self) -> Any:
        return iter((self,))


async def test_the_cap_is_dealt_and_dealt_again_when_a_worker_dies(around) -> None:
    around.lending.serve({"app": 6})
    pools: list[Pool] = []
    leases: list[Leases] = []
    for _ in range(3):
        client = await around.client()
        company = Company(client)
        pool = Pool([parse_address("unix:/nowhere")], Limits(max_connections=6))
        company.leases.serve(OnePool(pool))  # type: ignore[arg-type] # see its docstring
        assert pool.statistics().limit == 0
        pools.append(pool)
        leases.append(company.leases)
        await client.start()
    await eventually(lambda: [pool.statistics().limit for pool in pools] == [2, 2, 2])

    around.hub.drop_connections()
    await eventually(lambda: len(around.hub.nodes) == 3)
    assert sum(pool.statistics().limit for pool in pools) == 6

    dead = around.clients[0]
    await dead.stop()
    around.lending.bury(dead.node)
    await eventually(lambda: [pool.statistics().limit for pool in pools[1:]] == [3, 3])
    for lease in leases:
        lease.stop()
    for pool in pools:
        await pool.close()
