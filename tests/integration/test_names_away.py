"""The resolver is silent: what connects by name goes on, comes back, and nothing hangs.

In the gateway's own event loop, with the client libraries and real servers.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.brokers.memory import MemoryBroker
from gateway.brokers.nats import NatsBroker, Timing
from gateway.brokers.redis import RedisBroker
from gateway.channels.service import ChannelService
from gateway.config.services import PostgresSource as Postgres
from gateway.remote.names import Names
from gateway.server.loop import Loop
from gateway.sources.postgres import PostgresSource
from tests.contracts.broker import Worker, eventually
from tests.natsserver import NatsServer, find_nats
from tests.redisserver import RedisServer, find_redis


class Resolver:
    """Knows every name that ends in .test, and says nothing until it is `released`."""

    def __init__(self) -> None:
        self.asked = 0
        self.released = threading.Event()
        self.released.set()

    def __call__(self, host: str, port: int, *_question: Any) -> list[tuple[Any, ...]]:
        self.asked += 1
        self.released.wait(60)
        assert host.endswith(".test")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    resolver = Resolver()
    yield resolver
    resolver.released.set()


def run(resolver: Resolver, work: Callable[[], Coroutine[Any, Any, None]]) -> float:
    """Run it in the gateway's loop; the longest time that the loop stood still."""
    longest = 0.0

    def loop() -> Loop:
        made = Loop()
        made.names = Names(resolver, patience=0.1)
        return made

    async def watched() -> None:
        watching = asyncio.ensure_future(watch())
        try:
            await work()
        finally:
            watching.cancel()

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - before)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(watched())
    return longest


@pytest.mark.skipif(find_redis() is None, reason="no redis-server here")
def test_redis_is_reached_again_at_its_last_address(resolver) -> None:
    with RedisServer() as server:

        async def work() -> None:
            broker = RedisBroker(f"redis://broker.test:{server.port}/0")
            await broker.start(Worker(broker))
            await eventually(lambda: broker.ready)
            resolver.released.clear()
            server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            server.command("CLIENT", "KILL", "TYPE", "pubsub")
            await eventually(lambda: not broker.ready)
            await eventually(lambda: broker.ready)
            await broker.stop()

        assert run(resolver, work) < 1.0


@pytest.mark.skipif(find_nats() is None, reason="no nats-server here")
def test_nats_is_reached_again_at_its_last_address(resolver) -> None:
    with NatsServer(jetstream=False) as server:

        async def work() -> None:
            broker = NatsBroker(f"nats://broker.test:{server.port}", timing=Timing(ping=0.3))
            await broker.start(Worker(broker))
            await eventually(lambda: broker.ready)
            resolver.released.clear()
            server.kill()
            await eventually(lambda: not broker.ready)
            server.start()
            await eventually(lambda: broker.ready)
            await broker.stop()

        assert run(resolver, work) < 1.0


def test_silent_from_the_start_nothing_hangs_and_no_look_ups_pile_up(resolver) -> None:
    resolver.released.clear()

    def away() -> set[str]:
        return {word for entry in logs for word in entry["event"].split()}

    async def work() -> None:
        redis = RedisBroker("redis://redis.test:1/0")
        nats = NatsBroker("nats://nats.test:1")
        source = PostgresSource(
            Postgres(type="postgres", dsn="main", match="*"),
            "postgresql://somebody@postgres.test:1/none",
            ChannelService(MemoryBroker()),
        )
        await redis.start(Worker(redis))
        await nats.start(Worker(nats))
        source.start()
        # Each library has given up once, and asks again.
        await eventually(lambda: {"Redis", "NATS", "PostgreSQL"} <= away())
        await source.stop()
        await nats.stop()
        await redis.stop()

    with capture_logs() as logs:
        assert run(resolver, work) < 1.0
    assert not resolver.released.is_set()
    assert resolver.asked == 3
