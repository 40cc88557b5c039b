"""Many members of one channel are told without being asked, and nobody can tell the difference."""

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.channels.lanes import WORTHWHILE
from gateway.sessions.admission import complete
from gateway.sessions.json import SUBPROTOCOL
from tests.fakes import FakeClient, House

MANY = 2 * WORTHWHILE


class StrictClient(FakeClient):
    """Does not bear to be written to when it is not open."""

    def write(self, encoded: bytes) -> None:
        assert self.closed is None
        assert not self.aborted
        super().write(encoded)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = await House(subscribe=["news"], client={"send_buffer": "128KiB"}).start()
    yield house
    await house.stop()


async def connect(house: House, **more: Any) -> FakeClient:
    arrival = house.begin(**more)
    await complete(arrival)
    client = StrictClient()
    client.session = arrival.session.attach(client)
    return client


async def crowd(house: House, count: int = MANY) -> list[FakeClient]:
    clients = [await connect(house) for _ in range(count)]
    for number in range(3):
        await house.publish("news", str(number))
    assert all(client.frames == ["0", "1", "2"] for client in clients)
    for client in clients:
        client.frames.clear()
    return clients


async def test_who_goes_hears_no_more_and_the_others_do(house: House) -> None:
    first, *others = await crowd(house)

    first.go()
    await house.publish("news", "3")
    await house.publish("news", "4")

    assert first.frames == []
    assert all(client.frames == ["3", "4"] for client in others)


@pytest.mark.parametrize("position", [0, 1, -1])
async def test_who_is_closed_or_given_up_is_not_written_to(house: House, position: int) -> None:
    clients = await crowd(house)
    closed, given_up = clients.pop(position), clients.pop(position)
    assert closed.session is not None
    assert given_up.session is not None

    closed.session.close(4000, "enough")
    given_up.session.vanished()
    await house.publish("news", "3")

    assert closed.frames == given_up.frames == []
    assert all(client.frames == ["3"] for client in clients)


async def test_who_comes_hears_what_follows(house: House) -> None:
    clients = await crowd(house)

    late = await connect(house)
    for number in range(3, 6):
        await house.publish("news", str(number))

    assert all(client.frames == ["3", "4", "5"] for client in (*clients, late))


async def test_every_wire_gets_its_own_bytes(house: House) -> None:
    raw = await crowd(house)
    spoken = [await connect(house, subprotocols=(SUBPROTOCOL,)) for _ in range(3)]
    for client in spoken:
        client.frames.clear()

    for number in range(3):
        await house.publish("news", str(number))

    assert all(client.frames == ["0", "1", "2"] for client in raw)
    for client in spoken:
        assert [told["data"] for told in client.told] == [0, 1, 2]


async def test_a_client_that_does_not_read_is_closed_and_costs_the_others_nothing(
    house: House,
) -> None:
    slow, *others = await crowd(house)
    slow.stuck = True

    for _ in range(4):
        await house.publish("news", '"' + 60_000 * "x" + '"')

    assert slow.closed == (1013, "slow consumer")
    assert all(len(client.frames) == 4 for client in others)


async def test_silence_is_counted_from_the_publication_where_a_reload_asks_for_it(
    house: House,
) -> None:
    clients = await crowd(house)
    route = house.read(idle_timeout="1m").named("test")
    assert route is not None
    for client in clients:
        assert client.session is not None
        client.session.rebind(route)

    house.clock.advance(30)
    await house.publish("news", "3")

    for client in clients:
        assert client.session is not None
        assert client.session.spoke_at == house.clock.monotonic()


async def test_a_socket_that_fails_costs_its_own_connection_alone(house: House) -> None:
    clients = await crowd(house)
    broken = clients.pop()
    broken.aborted = True  # writing to it fails now, and nobody has told

    with capture_logs() as logs:
        await house.publish("news", "3")

    assert [entry["event"] for entry in logs] == ["delivery failed"]
    assert all(client.frames == ["3"] for client in clients)


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_happens_between_everybody_hears_what_is_meant_for_them(
    house: House, seed: int
) -> None:
    chance = random.Random(seed)
    clients = await crowd(house)
    heard: dict[int, list[str]] = {id(client): [] for client in clients}
    everybody = list(clients)

    for number in range(200):
        client = chance.choice(clients)
        assert client.session is not None
        match chance.choice(["go", "close", "vanish", "come", "congest", *["publish"] * 12]):
            case "publish":
                await house.publish("news", str(number))
                for each in clients:
                    heard[id(each)].append(str(number))
            case "come":
                clients.append(await connect(house))
                everybody.append(clients[-1])
                heard[id(clients[-1])] = []
            case "congest":
                client.session.on_congested(congested=chance.random() < 0.5)
            case _ if len(clients) <= WORTHWHILE:
                continue
            case "go":
                clients.remove(client)
                client.go()
            case "close":
                clients.remove(client)
                client.session.close(4000)
            case "vanish":
                clients.remove(client)
                client.session.vanished()

    assert {id(each): each.frames for each in everybody} == heard
