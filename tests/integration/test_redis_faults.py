"""Redis as the broker when Redis, or a worker, fails. Real servers, ended by process id."""

import asyncio
import pickle
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager

import pytest
from structlog.testing import capture_logs

from gateway.brokers.redis import RedisBroker, Timing
from gateway.channels.broker import ChannelRules, Member
from gateway.channels.policy import ChannelPolicy, Policies
from gateway.channels.publication import Message, Position
from gateway.channels.service import ChannelService
from gateway.errors import BrokerUnavailableError, ChannelNotFoundError, NodeGoneError
from tests.contracts.broker import KEPT, PLAIN, PRESENT, Worker, eventually
from tests.integration.broker_faults import BrokerFaults, joined, publish, served, up
from tests.redisserver import RedisServer, find_redis

pytestmark = pytest.mark.skipif(find_redis() is None, reason="no redis-server here")

QUICK = Timing(beat=0.1, dead_after=0.5, ping=0.2)
KEEPING = ChannelRules(history_size=5000, history_ttl=600.0)
POLICIES = Policies(
    [
        ChannelPolicy("kept.*", KEEPING),
        ChannelPolicy("present.*", PRESENT),
        ChannelPolicy("opened.*", ChannelRules(explicit=True)),
    ]
)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def durable() -> Iterator[RedisServer]:
    with RedisServer(durable=True) as server:
        yield server


def serving(url: str, timing: Timing = QUICK) -> AbstractAsyncContextManager[ChannelService]:
    return served(RedisBroker(url, timing=timing), POLICIES)


def broker_of(service: ChannelService) -> RedisBroker:
    broker = service._broker
    assert isinstance(broker, RedisBroker)
    return broker


class TestRedisFaults(BrokerFaults):
    def serving(self, server: RedisServer) -> AbstractAsyncContextManager[ChannelService]:
        return serving(server.unix_url)


async def test_a_restart_with_less_than_was_acknowledged_begins_a_new_life(server) -> None:
    """Without persistence the server forgets: an old position must not fit by chance."""
    async with serving(server.url) as service:
        await up(service)
        listener = await joined(service, "kept.a")
        before = Position(0, "")
        for n in range(5):
            before = await publish(service, "kept.a", b"%d" % n)
        await listener.hears(5)

        server.kill()
        server.start()
        await eventually(lambda: not service.ready or "gap" in listener.told)
        await up(service)
        for n in range(8):
            after = await publish(service, "kept.a", b"again %d" % n)

        assert after.epoch != before.epoch
        page = await service.history("kept.a", since=before)
        assert not page.recovered
        await listener.hears(13)
        assert listener.told == ["gap"]


async def test_paused_it_fails_fast_and_recovers(server) -> None:
    async with serving(server.url) as service:
        await up(service)
        listener = await joined(service, "room")

        server.pause()
        try:
            started = time.monotonic()
            with pytest.raises(BrokerUnavailableError):
                await publish(service, "room", b"lost")
            first = time.monotonic() - started
            with pytest.raises(BrokerUnavailableError):
                await publish(service, "room", b"lost, too")
            # The listening connection is found out by its own ping.
            await eventually(lambda: not broker_of(service)._subscriptions.ready)
        finally:
            server.resume()
        await up(service)

        assert first < 5.0
        await publish(service, "room", b"heard")
        await eventually(lambda: b"heard" in listener.heard)
        assert listener.told == ["gap"]


async def test_without_its_listening_connection_it_catches_up(server) -> None:
    async with serving(server.url) as service, serving(server.url) as other:
        await up(service, other)
        kept, plain = await joined(service, "kept.a"), await joined(service, "room")
        sent = 0
        for _ in range(10):
            server.command("CLIENT", "KILL", "TYPE", "pubsub")
            for _ in range(10):
                sent += 1
                await publish(other, "kept.a", b"%d" % sent)
            await up(service, other)
        await publish(other, "room", b"after")

        await kept.hears(sent)
        await eventually(lambda: b"after" in plain.heard)
        assert kept.heard == [b"%d" % n for n in range(1, sent + 1)]
        assert kept.told == []
        # Every loss is told, also when nothing was published since the one before.
        assert plain.told == ["gap"] * 10


async def test_without_its_commands_connection_it_goes_on(server) -> None:
    async with serving(server.url) as service:
        await up(service)
        listener = await joined(service, "kept.a")

        with capture_logs() as logs:
            server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await eventually(lambda: not service.ready)
            await up(service)

        await publish(service, "kept.a", b"one")
        await listener.hears(1)
        assert listener.told == []
    events = [entry["event"] for entry in logs if "Redis" in entry["event"]]
    assert events == ["no connection to Redis", "connected to Redis again"]


async def test_after_flushall_the_epoch_changes_and_members_come_back(server) -> None:
    async with serving(server.url) as service:
        await up(service)
        kept, there = await joined(service, "kept.a"), await joined(service, "present.a")
        before = await publish(service, "kept.a", b"one")
        await service.open("opened.a")
        opened = await joined(service, "opened.a")

        server.command("FLUSHALL")
        await eventually(lambda: "gap" in kept.told)
        await eventually(lambda: opened.told == ["closed"])

        page = await service.history("kept.a", since=before)
        assert not page.recovered
        assert (await publish(service, "kept.a", b"two")).epoch != before.epoch
        await kept.hears(2)
        assert kept.told == ["gap"]
        assert [each.id for each in await service.presence("present.a")] == [there.id]
        with pytest.raises(ChannelNotFoundError):
            await publish(service, "opened.a", b"closed")


async def test_scripts_that_were_flushed_are_sent_again(server) -> None:
    async with serving(server.url) as service:
        await up(service)
        listener = await joined(service, "kept.a")
        server.command("SCRIPT", "FLUSH")

        receipts = await asyncio.gather(*(publish(service, "kept.a", b"%d" % n) for n in range(20)))

        assert [position.offset for position in receipts] == list(range(1, 21))
        await listener.hears(20)
        assert listener.heard == [b"%d" % n for n in range(20)]


async def test_who_leaves_while_it_is_away_is_gone_when_it_is_back(durable) -> None:
    async with serving(durable.url) as service, serving(durable.url) as other:
        await up(service, other)
        going, staying = await joined(service, "present.a"), await joined(other, "present.a")

        durable.kill()
        await eventually(lambda: not service.ready)
        await service.leave_all(going)
        durable.start()
        await up(service, other)

        await eventually(lambda: f"leave {going.id}" in staying.told)
        assert [each.id for each in await other.presence("present.a")] == [staying.id]


# Hostile


class Bomb:
    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return exit, ("evaluated",)


HOSTILE = [
    b"",
    b"P",
    b"P1",
    b"P1 e",
    b"P1 e not msgpack",
    b"P-1 e \x93\xa0\xa0\xc4\x00",
    b"P1  \x93\xa0\xa0\xc4\x00",
    b"P0 e \x93\xa0\xa0\xc4\x00",
    b"P99999999999999999999999999 e \x93\xa0\xa0\xc4\x00",
    b"P1 \xff\xff \x93\xa0\xa0\xc4\x00",
    b"P0  \x93\xa1\xff\xa0\xc4\x00",
    b"P0  " + b"\x91" * 100_000,
    b"J",
    b"J{}",
    b"L\x92\x01\x02",
    b"Q\x93\xa0\x01",
    b"X",
    b'{"price": 1}',
    b"__import__('os')._exit(1)",
    pickle.dumps(Bomb()),
    secrets.token_bytes(10_000),
]


async def test_hostile_messages_are_dropped_and_counted(server) -> None:
    broker = RedisBroker(server.url)
    worker = Worker(broker)
    await broker.start(worker)
    try:
        await eventually(lambda: broker.ready)
        await broker.join("room", worker.member(), PLAIN)
        for payload in HOSTILE:
            server.command("PUBLISH", "wsgate:c:room", payload)
            server.command("PUBLISH", f"wsgate:n:{broker.node}", payload)

        await broker.publish("room", Message(b"good"), PLAIN)

        await eventually(lambda: worker.heard("room") == [b"good"])
        assert worker.events == []
        assert broker.malformed == 2 * len(HOSTILE)
    finally:
        await broker.stop()


async def test_a_message_of_100_mb_costs_a_reconnection_at_most(server) -> None:
    async with serving(server.url) as service:
        await up(service)
        listener = await joined(service, "room")

        payload = b"P0  \x93\xa0\xa0\xc6" + (100_000_000).to_bytes(4, "big") + bytes(100_000_000)
        server.command("PUBLISH", "wsgate:c:room", payload)

        async def heard() -> bool:
            await up(service)
            await publish(service, "room", b"good")
            return b"good" in listener.heard

        await _until(heard, wanted=True)
        assert set(listener.heard) == {b"good"}


async def test_a_stream_that_somebody_else_wrote_to_recovers_nothing(server) -> None:
    async with serving(server.url) as service:
        await up(service)
        await publish(service, "kept.a", b"one")
        key = next(
            line for line in server.command("KEYS", "*stream:kept.a").split() if b"stream" in line
        )
        start = (await service.history("kept.a")).position
        server.command("DEL", key)
        server.command("XADD", key, "1-0", "t", "99999999999999", "m", pickle.dumps(Bomb()))

        page = await service.history("kept.a", since=Position(0, start.epoch))

        assert not page.recovered
        assert page.publications == ()


# Workers that fail


async def test_a_worker_that_dies_takes_its_own_with_it_and_nobody_else(server) -> None:
    doomed = RedisBroker(server.url, timing=QUICK)
    dying = Worker(doomed)
    await doomed.start(dying)
    async with serving(server.url) as other:
        await up(other)
        await eventually(lambda: doomed.ready)
        staying = await joined(other, "present.a")
        going = Member(doomed.node + "x", "ada")
        await doomed.join("present.a", going, PRESENT)
        await doomed.join("lonely", Member(doomed.node + "y"), PLAIN)
        await eventually(lambda: f"join {going.id}" in staying.told)

        await _die(doomed)

        await eventually(lambda: f"leave {going.id}" in staying.told)
        assert [each.id for each in await other.presence("present.a")] == [staying.id]
        lonely = await other.state("lonely")
        assert lonely is not None
        assert lonely.subscribers == 0
        await publish(other, "present.a", b"unaffected")
        await staying.hears(1)
        assert staying.told == [f"join {going.id}", f"leave {going.id}"]
        with pytest.raises(NodeGoneError):
            await other.ask(doomed.node, b"?")


async def test_a_worker_that_was_thought_dead_comes_back(server) -> None:
    """It was stopped for longer than the others wait: they are told, it joins again by itself."""
    async with serving(server.url) as sleeper, serving(server.url) as other:
        await up(sleeper, other)
        staying, sleeping = await joined(other, "present.a"), await joined(sleeper, "present.a")
        upkeep = broker_of(sleeper)._upkeep
        interval, upkeep._interval = upkeep._interval, 1.5

        await eventually(lambda: f"leave {sleeping.id}" in staying.told)
        upkeep._interval = interval

        async def back() -> bool:
            return len(await other.presence("present.a")) == 2

        await _until(back, wanted=True)


async def _die(broker: RedisBroker) -> None:
    """End it as SIGKILL would: nothing is said to anybody."""
    await broker._tasks.close()
    await broker._questions.close()
    await broker._subscriptions.stop()
    await broker._commands.stop()


# Time


async def test_an_idle_channel_is_forgotten_and_an_opened_one_is_not(server) -> None:
    rules = ChannelRules(idle_ttl=0.3)
    worker = Worker(RedisBroker(server.url, timing=QUICK))
    broker = worker.broker
    await broker.start(worker)
    try:
        await eventually(lambda: broker.ready)
        member = worker.member()
        await broker.open("opened", rules)
        await broker.join("room", member, rules)
        await asyncio.sleep(0.5)
        assert await broker.state("room") is not None

        await broker.leave("room", member)

        await _until(lambda: broker.state("room"), None)
        names = [state.name for state in (await broker.list("*", limit=10, after=""))[0]]
        assert names == ["opened"]
    finally:
        await broker.stop()


async def test_a_channel_with_history_ends_with_it_and_begins_anew(server) -> None:
    rules = ChannelRules(history_size=5, history_ttl=0.4, idle_ttl=0.1)
    worker = Worker(RedisBroker(server.url, timing=QUICK))
    broker = worker.broker
    await broker.start(worker)
    try:
        await eventually(lambda: broker.ready)
        first = await broker.publish("room", Message(b"one"), rules)
        assert await broker.state("room") is not None

        await _until(lambda: broker.state("room"), None)

        second = await broker.publish("room", Message(b"one"), rules)
        assert second.position.offset == 1
        assert second.position.epoch != first.position.epoch
        await _until(lambda: broker.state("room"), None)
        # Nothing of it stays behind but the worker's own name.
        await eventually(lambda: server.command("DBSIZE") == b":1\r\n")
    finally:
        await broker.stop()


async def test_history_follows_a_reload(server) -> None:
    worker = Worker(RedisBroker(server.url))
    broker = worker.broker
    await broker.start(worker)
    try:
        await eventually(lambda: broker.ready)
        for n in range(5):
            await broker.publish("room", Message(b"%d" % n), KEPT)
        smaller = ChannelRules(history_size=2, history_ttl=60.0)
        page = await broker.history("room", smaller, since=None, limit=None)
        assert [each.message.data for each in page.publications] == [b"3", b"4"]

        receipt = await broker.publish("room", Message(b"none"), PLAIN)

        assert receipt.position == Position(0, "")
        assert (await broker.history("room", KEPT, since=None, limit=None)).publications == ()
    finally:
        await broker.stop()


async def _until(ask: Callable[[], Awaitable[object]], wanted: object) -> None:
    async with asyncio.timeout(10):
        while await ask() != wanted:  # noqa: ASYNC110 - the answer is in a server
            await asyncio.sleep(0.02)
