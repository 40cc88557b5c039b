"""Redis as a source, against a real server."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from gateway.brokers.memory import MemoryBroker
from gateway.channels.broker import Member
from gateway.channels.publication import Kind, Publication
from gateway.channels.publishing import Source
from gateway.channels.service import ChannelService
from gateway.config.services import RedisSource as Settings
from gateway.errors import ChannelNameError, ConfigurationError
from gateway.sources.redis import RedisSource
from tests.contracts.broker import eventually
from tests.redisserver import RedisServer, find_redis

pytestmark = pytest.mark.skipif(find_redis() is None, reason="no redis-server here")


class Reader:
    """A subscriber that notes what it hears."""

    user = ""

    def __init__(self, name: str = "reader") -> None:
        self.id = name
        self.heard: list[Publication] = []
        self.gaps: list[str] = []

    @property
    def data(self) -> list[bytes]:
        return [publication.message.data for publication in self.heard]

    def deliver(self, publication: Publication) -> None:
        self.heard.append(publication)

    def on_gap(self, channel: str) -> None:
        self.gaps.append(channel)

    def on_join(self, channel: str, member: Member) -> None: ...
    def on_leave(self, channel: str, member: Member) -> None: ...
    def lane(self) -> None: ...

    def on_channel_closed(self, channel: str) -> None: ...


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@asynccontextmanager
async def fed(
    url: str, match: str = "stock.*", prefix: str = ""
) -> AsyncIterator[tuple[ChannelService, RedisSource]]:
    service = ChannelService(MemoryBroker())
    settings = Settings(type="redis", url=url, match=match, prefix=prefix)
    source = RedisSource(settings, service, ping_interval=0.2)
    service.add_feed(source)
    await service.start()
    source.start()
    try:
        yield service, source
    finally:
        await source.stop()
        await service.stop()


def subscribers(server: RedisServer, name: str) -> int:
    return int(server.command("PUBSUB", "NUMSUB", name).strip().rpartition(b":")[2])


async def test_what_others_publish_comes_at_once_from_the_first_subscriber_to_the_last(
    server,
) -> None:
    async with fed(server.url) as (service, source):
        await eventually(lambda: source.ready)
        assert subscribers(server, "stock.AAPL") == 0
        first, second = Reader("a"), Reader("b")
        await service.join(first, "stock.AAPL")
        await service.join(second, "stock.AAPL")
        assert subscribers(server, "stock.AAPL") == 1

        assert server.command("PUBLISH", "stock.AAPL", '{"price":1}') == b":1\r\n"
        server.command("PUBLISH", "stock.MSFT", '{"price":2}')
        await eventually(lambda: first.data == second.data == [b'{"price":1}'])
        assert first.heard[0].kind is Kind.TEXT
        assert service.publications[Source.REDIS] == 1

        await service.leave(first, "stock.AAPL")
        server.command("PUBLISH", "stock.AAPL", "two")
        await eventually(lambda: len(second.heard) == 2)
        await service.leave(second, "stock.AAPL")
        await eventually(lambda: subscribers(server, "stock.AAPL") == 0)
        assert len(first.heard) == 1


async def test_what_is_not_utf8_is_binary(server) -> None:
    data = bytes(range(256))
    async with fed(server.url) as (service, source):
        await eventually(lambda: source.ready)
        reader = Reader()
        await service.join(reader, "stock.bin")

        server.command("PUBLISH", "stock.bin", data)

        await eventually(lambda: reader.data == [data])
        assert reader.heard[0].kind is Kind.BINARY


async def test_the_name_in_redis_is_the_prefix_and_the_channel(server) -> None:
    async with fed(server.url, prefix="app:") as (service, source):
        await eventually(lambda: source.ready)
        reader = Reader()
        await service.join(reader, "stock.A")

        server.command("PUBLISH", "stock.A", "not meant")
        server.command("PUBLISH", "app:stock.A", "meant")

        await eventually(lambda: reader.data == [b"meant"])
        assert reader.heard[0].channel == "stock.A"


async def test_other_channels_are_none_of_its_affair(server) -> None:
    async with fed(server.url) as (service, source):
        await eventually(lambda: source.ready)
        reader = Reader()
        await service.join(reader, "room.1")

        assert subscribers(server, "room.1") == 0


@pytest.mark.parametrize("name", ["stock.?", "stock.[ab]", "stock.\\x", "stock.ä", 'stock."'])
async def test_a_name_never_becomes_a_pattern(server, name) -> None:
    async with fed(server.url) as (service, source):
        await eventually(lambda: source.ready)
        reader = Reader()
        await service.join(reader, name)

        for near in ("stock.a", "stock.b", "stock.x", "stock."):
            server.command("PUBLISH", near, "near")
        server.command("PUBLISH", name, "meant")

        await eventually(lambda: reader.data == [b"meant"])
        assert server.command("PUBSUB", "NUMPAT") == b":0\r\n"


@pytest.mark.parametrize("name", ["stock.*", "stock.a b", "stock.\r\nFLUSHALL\r\n", "stock.\0"])
async def test_names_that_could_do_harm_are_refused(server, name) -> None:
    async with fed(server.url) as (service, source):
        await eventually(lambda: source.ready)
        with pytest.raises(ChannelNameError):
            await service.join(Reader(), name)


async def test_away_at_the_start_subscribers_are_let_in_and_hear_when_it_is_there(server) -> None:
    server.kill()
    async with fed(server.url) as (service, source):
        reader = Reader()
        await service.join(reader, "stock.A")

        server.start()
        await eventually(lambda: source.ready)

        server.command("PUBLISH", "stock.A", "one")
        await eventually(lambda: reader.data == [b"one"])
        assert reader.gaps == ["stock.A"]


async def test_killed_and_back_each_is_told_of_every_gap_once(server) -> None:
    async with fed(server.url) as (service, source):
        await eventually(lambda: source.ready)
        readers = {f"stock.{n}": Reader(str(n)) for n in range(50)}
        for channel, reader in readers.items():
            await service.join(reader, channel)

        with capture_logs() as logs:
            for _ in range(2):
                server.kill()
                await eventually(lambda: not source.ready)
                server.start()
                await eventually(lambda: source.ready)

        events = [entry["event"] for entry in logs]
        assert events == ["nothing is heard from Redis", "Redis is heard again"] * 2
        for channel, reader in readers.items():
            server.command("PUBLISH", channel, "after")
            await eventually(lambda reader=reader: reader.data == [b"after"])  # type: ignore[misc]
            assert reader.gaps == [channel] * 2


async def test_paused_it_is_found_out_and_joins_do_not_hang(server) -> None:
    async with fed(server.url) as (service, source):
        await eventually(lambda: source.ready)
        reader, late = Reader("a"), Reader("b")
        await service.join(reader, "stock.A")
        server.pause()
        try:
            await eventually(lambda: not source.ready)
            async with asyncio.timeout(5):
                await service.join(late, "stock.B")
        finally:
            server.resume()
        await eventually(lambda: source.ready)

        server.command("PUBLISH", "stock.B", "heard")
        await eventually(lambda: late.data == [b"heard"])
        assert reader.gaps == ["stock.A"]


async def test_thousands_of_channels_come_and_go(server) -> None:
    async with fed(server.url) as (service, source):
        await eventually(lambda: source.ready)
        readers = [Reader(str(n)) for n in range(2000)]
        await asyncio.gather(
            *(service.join(reader, f"stock.{n}") for n, reader in enumerate(readers))
        )
        assert server.command("PUBLISH", "stock.1999", "x") == b":1\r\n"
        await eventually(lambda: readers[-1].data == [b"x"])

        for reader in readers:
            await service.leave_all(reader)

        await eventually(lambda: server.command("PUBSUB", "CHANNELS") == b"*0\r\n")


@pytest.mark.parametrize(
    "url", ["", "localhost:6379", "http://localhost", "redis://h/0?nonsense=1"]
)
async def test_an_address_of_something_else_is_refused(url) -> None:
    with pytest.raises(ConfigurationError, match="Redis"):
        RedisSource(Settings(type="redis", url=url, match="*"), ChannelService(MemoryBroker()))
