"""PostgreSQL as a source, against a real server."""

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from gateway.brokers.memory import MemoryBroker
from gateway.channels.broker import Member
from gateway.channels.publication import Kind, Publication
from gateway.channels.service import ChannelService
from gateway.config.loading import load
from gateway.config.services import PostgresSource as Settings
from gateway.errors import ChannelNameError
from gateway.server.sources import Sources
from gateway.sources.postgres import PostgresSource
from tests.postgresserver import PostgresServer, find_postgres, until

pytestmark = pytest.mark.skipif(find_postgres() is None, reason="no PostgreSQL here")


class Reader:
    """A subscriber that notes what it hears."""

    user = ""

    def __init__(self, name: str = "reader") -> None:
        self.id = name
        self.heard: list[Publication] = []
        self.gaps: list[str] = []

    @property
    def texts(self) -> list[str]:
        return [publication.message.data.decode() for publication in self.heard]

    def deliver(self, publication: Publication) -> None:
        self.heard.append(publication)

    def on_gap(self, channel: str) -> None:
        self.gaps.append(channel)

    def on_join(self, channel: str, member: Member) -> None: ...
    def on_leave(self, channel: str, member: Member) -> None: ...
    def lane(self) -> None: ...

    def on_channel_closed(self, channel: str) -> None: ...


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture
async def admin(server) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(server.dsn)
    yield connection
    await connection.close()


@contextlib.asynccontextmanager
async def feeding(server: PostgresServer, **settings: str) -> AsyncIterator[ChannelService]:
    channels = ChannelService(MemoryBroker())
    await channels.start()
    chosen = {"dsn": "main", "match": "pg.*", "strip": "pg.", **settings}
    source = PostgresSource(Settings(type="postgres", **chosen), server.dsn, channels)
    channels.add_feed(source)
    source.start()
    await until(lambda: source.ready)
    try:
        yield channels
    finally:
        await source.stop()
        await channels.stop()


async def listeners(admin: Any) -> list[str]:
    """What the gateway listened to last, as the server saw it."""
    rows = await admin.fetch(
        "select query from pg_stat_activity where application_name = 'wsgate' and pid <> "
        "pg_backend_pid()"
    )
    return [row["query"] for row in rows]


async def test_a_notify_arrives_at_everybody_in_the_channel(server, admin) -> None:
    async with feeding(server) as channels:
        one, two, other = Reader("1"), Reader("2"), Reader("3")
        await channels.join(one, "pg.orders")
        await channels.join(two, "pg.orders")
        await channels.join(other, "pg.other")
        await admin.execute("select pg_notify('orders', 'grüße')")
        await until(lambda: one.heard and two.heard)
        assert one.texts == ["grüße"]
        assert one.heard[0].kind is Kind.TEXT
        assert other.heard == []


async def test_a_notify_in_a_transaction_arrives_at_its_commit_and_not_before(
    server, admin
) -> None:
    async with feeding(server) as channels:
        reader = Reader()
        await channels.join(reader, "pg.orders")
        writer = await asyncpg.connect(server.dsn)
        transaction = writer.transaction()
        await transaction.start()
        await writer.execute("select pg_notify('orders', 'inside')")
        await admin.execute("select pg_notify('orders', 'outside')")
        await until(lambda: reader.heard)
        assert reader.texts == ["outside"]
        await transaction.commit()
        await until(lambda: len(reader.heard) == 2)
        assert reader.texts == ["outside", "inside"]
        await writer.close()


async def test_ten_thousand_notifies_of_one_commit_arrive_in_order(server, admin) -> None:
    async with feeding(server) as channels:
        reader = Reader()
        await channels.join(reader, "pg.many")
        await admin.execute(
            "select pg_notify('many', number::text) from generate_series(1, 10000) number"
        )
        await until(lambda: len(reader.heard) == 10_000)
        assert reader.texts == [str(number) for number in range(1, 10_001)]


@pytest.mark.parametrize(
    "name",
    ['"; drop table x; --', "a'b", 'a""b', "CamelCase", "select", "ünï", "$$", "\\", "a;b", "%s"],
)
async def test_any_name_a_client_can_produce_is_only_a_name(server, admin, name) -> None:
    name = name.replace(" ", "")
    async with feeding(server) as channels:
        reader = Reader()
        await channels.join(reader, f"pg.{name}")
        await admin.execute("select pg_notify($1, 'x')", name)
        await until(lambda: reader.heard)


async def test_after_the_last_subscriber_nothing_is_listened_to(server, admin) -> None:
    async with feeding(server) as channels:
        one, two = Reader("1"), Reader("2")
        await channels.join(one, "pg.orders")
        await channels.join(two, "pg.orders")
        await channels.leave(one, "pg.orders")
        assert not any("UNLISTEN" in query for query in await listeners(admin))
        await channels.leave(two, "pg.orders")
        async with contextlib.AsyncExitStack():
            for _ in range(1000):
                if any("UNLISTEN" in query for query in await listeners(admin)):
                    break
            else:
                pytest.fail("still listening")


async def test_who_comes_back_while_unlisten_is_under_way_is_heard(server, admin) -> None:
    async with feeding(server) as channels:
        reader = Reader()
        for _ in range(20):
            await channels.join(reader, "pg.orders")
            await channels.leave(reader, "pg.orders")
        await channels.join(reader, "pg.orders")
        await admin.execute("select pg_notify('orders', 'x')")
        await until(lambda: reader.heard)


@pytest.mark.parametrize("name", ["x" * 64, "ü" * 32])
async def test_a_name_that_notify_cannot_have_is_refused(server, name) -> None:
    async with feeding(server) as channels:
        reader = Reader()
        with pytest.raises(ChannelNameError, match="63"):
            await channels.join(reader, f"pg.{name}")
        assert channels.joined(reader) == ()


async def test_the_longest_name_is_listened_to_whole(server, admin) -> None:
    async with feeding(server) as channels:
        reader = Reader()
        await channels.join(reader, "pg." + "x" * 63)
        await admin.execute("select pg_notify($1, 'x')", "x" * 63)
        await until(lambda: reader.heard)


async def test_nothing_left_of_a_name_is_refused(server) -> None:
    async with feeding(server) as channels:
        with pytest.raises(ChannelNameError):
            await channels.join(Reader(), "pg.")


async def test_in_payload_mode_one_notify_channel_serves_all(server, admin) -> None:
    settings = {"mode": "payload", "notify": "bus", "strip": "", "match": "order.*"}
    async with feeding(server, **settings) as channels:
        one, two = Reader("1"), Reader("2")
        await channels.join(one, "order.1")
        await channels.join(two, "order.2")
        for payload in ("no json", "[]", '{"channel":1,"data":1}', '{"channel":"order.1"}'):
            await admin.execute("select pg_notify('bus', $1)", payload)
        for channel in ("order.2", "order.9", "other"):
            value = json.dumps({"channel": channel, "data": {"total": 1}})
            await admin.execute("select pg_notify('bus', $1)", value)
        await until(lambda: two.heard)
        assert two.heard[0].kind is Kind.JSON
        assert json.loads(two.heard[0].message.data) == {"total": 1}
        assert one.heard == []


async def test_a_connection_that_is_terminated_comes_back_with_a_gap_for_each_channel(
    server, admin
) -> None:
    async with feeding(server) as channels:
        reader = Reader()
        names = [f"pg.{number}" for number in range(20)]
        for name in names:
            await channels.join(reader, name)
        await admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where application_name = 'wsgate'"
        )
        await until(lambda: len(reader.gaps) == len(names))
        assert sorted(reader.gaps) == sorted(names)
        await admin.execute("select pg_notify('7', 'again')")
        await until(lambda: reader.heard)


async def test_a_restart_of_the_server_keeps_the_subscribers(server) -> None:
    async with feeding(server) as channels:
        reader, late = Reader("1"), Reader("2")
        await channels.join(reader, "pg.orders")
        with capture_logs() as logs:
            server.stop()
            await channels.join(late, "pg.late")
            server.start()
            await until(lambda: reader.gaps and late.gaps)
        events = [entry["event"] for entry in logs]
        assert (events[0], events[-1]) == ("PostgreSQL is lost", "PostgreSQL is heard again")
        assert (reader.gaps, late.gaps) == (["pg.orders"], ["pg.late"])
        admin = await asyncpg.connect(server.dsn)
        await admin.execute("select pg_notify('late', 'x'), pg_notify('orders', 'y')")
        await admin.close()
        await until(lambda: reader.heard and late.heard)


async def test_a_channel_that_is_none_of_the_sources_affair_is_left_alone(server, admin) -> None:
    async with feeding(server) as channels:
        reader = Reader()
        await channels.join(reader, "room.1")
        await admin.execute("select pg_notify('room.1', 'x')")
        await channels.join(reader, "pg.1")
        await admin.execute("select pg_notify('1', 'y')")
        await until(lambda: reader.heard)
        assert reader.texts == ["y"]


async def test_listening_may_have_an_address_of_its_own(server, tmp_path) -> None:
    """As behind PgBouncer: `dsn` leads to what cannot LISTEN, here to nobody."""
    file = tmp_path / "wsgate.yaml"
    file.write_text(
        f"""\
upstreams: {{app: {{address: "unix:{tmp_path}/none.sock", document_root: "{tmp_path}"}}}}
routes: [{{path: /ws, upstream: app, script: /ws.php}}]
sources: [{{type: postgres, dsn: main, match: "pg.*", strip: "pg."}}]
databases: {{main: {{dsn: "postgresql://127.0.0.1:1/none", listen_dsn: "{server.dsn}"}}}}
"""
    )
    channels = ChannelService(MemoryBroker())
    sources = Sources(load(file), channels)
    sources.start()
    try:
        await until(lambda: not sources.degraded)
    finally:
        await sources.stop()
