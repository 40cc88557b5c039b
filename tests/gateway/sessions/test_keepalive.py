"""Pings, silence, congestion and expiry, by a clock that the test moves."""

from collections.abc import Awaitable, Callable

import pytest

from gateway.channels.publication import Kind, Message, Position, Publication
from tests.fakes import FakeClient, House

Build = Callable[..., Awaitable[House]]


def sweep(house: House, seconds: float) -> None:
    """Let so many seconds pass, with a look at everybody in each."""
    for _ in range(int(seconds)):
        house.clock.advance(1.0)
        house.services.keepalive.sweep(house.clock.monotonic())


@pytest.fixture
async def house(build: Build) -> House:
    return await build(client={"ping_interval": "25s", "pong_timeout": "10s"})


async def test_a_silent_client_is_pinged_after_the_interval(house: House) -> None:
    client = await house.connect()

    sweep(house, 24)
    assert client.pings == 0
    sweep(house, 2)
    assert client.pings == 1


async def test_traffic_moves_the_ping_on(house: House) -> None:
    client = await house.connect()

    for _ in range(10):
        sweep(house, 20)
        client.say("x")
    assert client.pings == 0


async def test_who_does_not_answer_a_ping_is_dropped_and_php_hears_an_unclean_end(
    house: House,
) -> None:
    client = await house.connect()

    sweep(house, 34)
    assert not client.aborted
    sweep(house, 2)
    assert client.aborted


async def test_a_pong_is_a_sign_of_life(house: House) -> None:
    client = await house.connect()
    assert client.session is not None

    for _ in range(5):
        sweep(house, 27)
        client.session.on_activity()
    assert not client.aborted
    assert client.pings == 5


async def test_a_client_that_we_do_not_read_is_not_taken_for_dead(house: House) -> None:
    """Its pong waits in the socket behind messages that PHP has no time for."""
    client = await house.connect()
    client.say(*"x" * 100)
    assert client.paused

    sweep(house, 300)
    assert not client.aborted
    assert client.pings == 0

    while house.pool.requests:
        house.pool.answer("y")
    sweep(house, 27)
    assert client.pings == 1


async def test_a_ping_that_waits_for_its_pong_waits_while_we_do_not_read(house: House) -> None:
    client = await house.connect()
    sweep(house, 26)
    assert client.pings == 1
    assert client.session is not None
    client.session.hold()
    sweep(house, 100)
    assert not client.aborted
    client.session.release()
    sweep(house, 5)
    assert not client.aborted


async def test_a_client_that_does_not_read_for_ten_seconds_is_closed(house: House) -> None:
    client = await house.connect()
    assert client.session is not None

    client.session.on_congested(congested=True)
    sweep(house, 9)
    assert client.closed is None
    sweep(house, 2)
    assert client.closed == (1013, "slow consumer")


async def test_a_client_that_reads_again_in_time_stays(house: House) -> None:
    client = await house.connect()
    assert client.session is not None

    for _ in range(5):
        client.session.on_congested(congested=True)
        sweep(house, 9)
        client.session.on_congested(congested=False)
        client.session.on_activity()
        sweep(house, 5)
    assert client.closed is None


async def test_a_slow_reader_is_not_asked_for_a_pong_that_cannot_come(house: House) -> None:
    """A ping is not written behind what is unread, so its pong must not be waited for."""
    client = await house.connect()
    assert client.session is not None

    sweep(house, 20)
    client.session.on_congested(congested=True)
    sweep(house, 8)
    assert client.pings == 0
    client.session.on_congested(congested=False)
    sweep(house, 8)
    assert not client.aborted
    assert client.pings == 1


async def test_more_than_the_send_buffer_unread_closes_at_once(house: House) -> None:
    client = await house.connect()
    assert client.session is not None

    client.session.on_congested(congested=True)
    client.unread = 256 * 1024
    client.session.send(b"x", text=True)
    assert client.closed is None, "the limit itself is allowed"
    client.unread += 1
    client.session.send(b"x", text=True)
    assert client.closed == (1013, "slow consumer")
    assert house.metrics.slow_consumers_total.labelled().value == 1


async def test_one_message_larger_than_the_send_buffer_is_no_reason_to_close(house: House) -> None:
    """However fast its client reads, the network takes it piece by piece."""
    client = await house.connect()
    assert client.session is not None

    client.stuck = True
    client.session.send(bytes(1 << 20), text=False)
    assert client.closed is None
    client.session.send(b"x", text=True)
    assert client.closed == (1013, "slow consumer")
    assert len(client.frames) == 1, "what comes on top of it is too much"


async def test_what_a_join_has_found_is_one_message_however_much_it_is(house: House) -> None:
    client = await house.connect()
    session = client.session
    assert session is not None

    client.stuck = True
    message = Message(bytes(100 * 1024))
    publications = [Publication("a", message, Kind.BINARY, Position(n, "e")) for n in range(1, 9)]
    session.deliver_all(tuple(publications))
    assert client.closed is None
    assert len(client.frames) == 8
    session.deliver(publications[0])
    assert client.closed == (1013, "slow consumer")


async def test_who_takes_a_large_message_piece_by_piece_stays(house: House) -> None:
    """Over a thin line it takes its time; whoever stops taking is stuck."""
    client = await house.connect()
    assert client.session is not None

    client.unread = 2 << 20
    client.session.on_congested(congested=True)
    for _ in range(5):
        client.unread -= 256 * 1024
        sweep(house, 10)
    assert client.closed is None
    sweep(house, 11)
    assert client.closed == (1013, "slow consumer")


async def test_who_takes_a_large_message_byte_by_byte_is_closed(house: House) -> None:
    client = await house.connect()
    assert client.session is not None

    client.unread = 2 << 20
    client.session.on_congested(congested=True)
    for _ in range(11):
        client.unread -= 1
        sweep(house, 1)
    assert client.closed == (1013, "slow consumer")


async def test_an_idle_client_is_closed_though_it_answers_pings(build: Build) -> None:
    house = await build(client={"idle_timeout": "60s"})
    client = await house.connect()
    assert client.session is not None

    for _ in range(59):
        sweep(house, 1)
        client.session.on_activity()
    assert client.closed is None
    sweep(house, 2)
    assert client.closed == (1000, "idle")


async def test_a_push_counts_as_a_message(build: Build) -> None:
    house = await build(client={"idle_timeout": "60s"})
    client = await house.connect()
    assert client.session is not None

    sweep(house, 50)
    client.session.push(b"x", "text/plain")
    client.session.on_activity()
    sweep(house, 50)
    assert client.closed is None


async def test_a_reload_that_begins_to_count_silence_begins_at_nought(build: Build) -> None:
    house = await build(client={"ping_interval": "off"})
    client = await house.connect()
    assert client.session is not None
    sweep(house, 100)

    route = house.read(ping_interval="off", idle_timeout="60s").named("test")
    assert route is not None
    client.session.rebind(route)

    sweep(house, 50)
    assert client.closed is None
    sweep(house, 12)
    assert client.closed == (1000, "idle")


async def test_who_waits_for_an_answer_is_not_idle(build: Build) -> None:
    house = await build(client={"idle_timeout": "5s", "ping_interval": "off"})
    client = await house.connect()

    client.say("x")
    sweep(house, 20)
    assert client.closed is None
    house.pool.answer('"y"')
    sweep(house, 7)
    assert client.closed == (1000, "idle")


async def test_the_end_of_a_token_closes_with_its_own_code(house: House) -> None:
    arrival = house.begin()
    arrival.session.expires_at = house.clock.monotonic() + 7
    client = house.enter(arrival)

    sweep(house, 7)
    sweep(house, 1)
    assert client.closed == (4401, "token expired")


async def test_a_session_is_watched_once_however_often_it_is_congested(house: House) -> None:
    client = await house.connect()
    assert client.session is not None

    for _ in range(1000):
        client.session.on_congested(congested=True)
        client.session.on_congested(congested=False)
        client.session.on_activity()
        sweep(house, 1)
    assert len(house.services.keepalive) == 1


async def test_a_connection_that_ended_is_forgotten_at_once(build: Build) -> None:
    house = await build(client={"idle_timeout": "24h"})
    clients = [await house.connect() for _ in range(10)]
    assert len(house.services.keepalive) == 10

    for client in clients:
        client.go()
    assert len(house.services.keepalive) == 0


async def test_without_limits_nobody_is_watched(build: Build) -> None:
    house = await build(client={"ping_interval": "off"})
    await house.connect()
    assert len(house.services.keepalive) == 0


async def test_a_reload_that_brings_pings_pings(build: Build) -> None:
    house = await build(client={"ping_interval": "off"})
    client = await house.connect()
    assert client.session is not None

    route = house.read(ping_interval="5s").named("test")
    assert route is not None
    client.session.rebind(route)
    sweep(house, 7)
    assert client.pings == 1


async def test_one_broken_session_does_not_cost_the_others_their_pings(house: House) -> None:
    clients = [await house.connect() for _ in range(5)]

    def broken() -> None:
        raise ZeroDivisionError

    clients[2].ping = broken  # type: ignore[method-assign]
    sweep(house, 27)
    assert [client.pings for client in clients] == [1, 1, 0, 1, 1]


async def test_a_long_pause_of_the_sweep_is_made_up_for(house: House) -> None:
    """The process may have been stopped for minutes."""
    clients = [await house.connect() for _ in range(3)]

    house.clock.advance(1000)
    house.services.keepalive.sweep(house.clock.monotonic())
    assert [client.pings for client in clients] == [1, 1, 1]


async def test_a_step_of_the_wall_clock_changes_nothing(house: House) -> None:
    client: FakeClient = await house.connect()
    house.clock.unix += 3600
    house.services.keepalive.sweep(house.clock.monotonic())
    assert (client.pings, client.aborted) == (0, False)
