"""Redis as the broker behind a password, TLS, Sentinel, and as a cluster. Real servers."""

import shutil
import subprocess
import sys
from contextlib import ExitStack

import pytest

from gateway.brokers.redis import RedisBroker, Timing
from gateway.channels.publication import Message
from gateway.errors import BrokerUnavailableError, NodeGoneError
from gateway.remote.redis import open_server
from tests.certificates import self_signed
from tests.contracts.broker import KEPT, PRESENT, Worker, eventually
from tests.phpfpm import free_port
from tests.redisserver import RedisServer, find_redis

pytestmark = pytest.mark.skipif(find_redis() is None, reason="no redis-server here")

QUICK = Timing(beat=0.2, dead_after=1.0, ping=0.3)


async def works(url: str, timing: Timing | None = None) -> None:
    """Two workers meet there, with everything a broker has."""
    workers = [Worker(RedisBroker(url, timing=timing)) for _ in range(2)]
    one, two = workers
    for worker in workers:
        await worker.broker.start(worker)
    try:
        await eventually(lambda: all(worker.broker.ready for worker in workers))
        for n in range(20):
            channel = f"room.{n}"
            await one.broker.join(channel, one.member("ada"), KEPT)
            await two.broker.join(channel, two.member("bob"), PRESENT)
            await two.broker.publish(channel, Message(b"one", key="k"), KEPT)
            again = await one.broker.publish(channel, Message(b"again", key="k"), KEPT)
            assert again.repeated
            await one.hears(channel, b"one")
            page = await two.broker.history(channel, KEPT, since=None, limit=None)
            assert [each.message.data for each in page.publications] == [b"one"]
            assert len(await one.broker.presence(channel)) == 2
        states, _ = await one.broker.list("room.*", limit=100, after="")
        assert len(states) == 20
        assert await one.broker.ask(two.broker.node, b"?")
        await two.broker.stop()
        with pytest.raises(NodeGoneError):
            await one.broker.ask(two.broker.node, b"?")
        assert len(await one.broker.presence("room.1")) == 1
    finally:
        for worker in workers:
            await worker.broker.stop()


async def test_a_password(tmp_path) -> None:
    with RedisServer("requirepass s3cr$t/") as server:
        await works(f"redis://:s3cr%24t%2F@127.0.0.1:{server.port}/3")
        await works(f"unix://:s3cr%24t%2F@{server.socket_path}?db=2")

        broker = RedisBroker(f"redis://:wrong@127.0.0.1:{server.port}/0")
        await broker.start(Worker(broker))
        try:
            assert not broker.ready
            with pytest.raises(BrokerUnavailableError):
                await broker.publish("room", Message(b"x"), KEPT)
        finally:
            await broker.stop()


async def test_a_user_that_may_do_no_more_than_is_needed() -> None:
    rules = "~wsgate:* &wsgate:* +@all -@dangerous"
    with RedisServer(f"user gate on >secret {rules}") as server:
        await works(f"redis://gate:secret@127.0.0.1:{server.port}/0")


async def test_a_user_whose_rights_are_taken_away_is_no_hole() -> None:
    """The connection stands, the commands are refused: that is a broker that is away."""
    with RedisServer("user gate on >secret ~* &* +@all") as server:
        worker = Worker(RedisBroker(f"redis://gate:secret@127.0.0.1:{server.port}/0", timing=QUICK))
        await worker.broker.start(worker)
        try:
            await eventually(lambda: worker.broker.ready)
            server.command("ACL", "SETUSER", "gate", "-@all", "+ping", "+subscribe")

            with pytest.raises(BrokerUnavailableError, match="permission"):
                await worker.broker.publish("room", Message(b"x"), KEPT)

            server.command("ACL", "SETUSER", "gate", "+@all")
            await eventually(lambda: worker.broker.ready)
            await worker.broker.publish("room", Message(b"x"), KEPT)
        finally:
            await worker.broker.stop()


async def test_tls(tmp_path) -> None:
    certificate, key = self_signed(tmp_path)
    port = free_port()
    with RedisServer(
        f"tls-port {port}",
        f"tls-cert-file {certificate}",
        f"tls-key-file {key}",
        "tls-auth-clients no",
    ):
        await works(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}")

        with pytest.raises(BrokerUnavailableError, match=r"(?i)certificate"):
            await open_server(f"rediss://127.0.0.1:{port}/0").link()


async def test_sentinel_leads_to_the_new_master_when_the_old_one_dies() -> None:
    with ExitStack() as stack:
        master = stack.enter_context(RedisServer())
        replica = stack.enter_context(RedisServer(f"replicaof 127.0.0.1 {master.port}"))
        sentinel = stack.enter_context(Sentinel(master.port))
        await eventually(lambda: b"master_link_status:up" in replica.command("INFO", "replication"))
        await eventually(lambda: b"slaves=1" in sentinel.command("INFO", "sentinel"))
        url = f"redis+sentinel://127.0.0.1:{sentinel.port},127.0.0.1:1/mymaster/0"
        worker = Worker(RedisBroker(url, timing=QUICK))
        await worker.broker.start(worker)
        try:
            await eventually(lambda: worker.broker.ready)
            await worker.broker.join("room", worker.member(), KEPT)
            before = await worker.broker.publish("room", Message(b"before"), KEPT)
            await eventually(
                lambda: b"lag=0" in master.command("INFO", "replication"),
            )

            master.kill()
            # Before the new master is looked for: the worker may have found it by then.
            await eventually(lambda: not worker.broker.ready)
            await eventually(lambda: b"role:master" in replica.command("INFO", "replication"))
            await eventually(lambda: worker.broker.ready)

            await worker.broker.publish("room", Message(b"after"), KEPT)
            await worker.hears("room", b"after")
            page = await worker.broker.history("room", KEPT, since=None, limit=None)
            assert page.publications[-1].message.data == b"after"
            told = ("gap", "room", None) in worker.events
            assert told == (page.position.epoch != before.position.epoch)
        finally:
            await worker.broker.stop()


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="no redis-cli here")
async def test_a_cluster() -> None:
    with ExitStack() as stack:
        servers = [
            stack.enter_context(
                RedisServer(
                    "cluster-enabled yes",
                    f"cluster-port {free_port()}",
                    "cluster-node-timeout 2000",
                )
            )
            for _ in range(3)
        ]
        hosts = [f"127.0.0.1:{server.port}" for server in servers]
        subprocess.run(  # noqa: ASYNC221 - nothing else runs yet
            ["redis-cli", "--cluster", "create", *hosts, "--cluster-yes"],
            check=True,
            capture_output=True,
            timeout=60,
        )
        for server in servers:
            await eventually(lambda s=server: b"cluster_state:ok" in s.command("CLUSTER", "INFO"))  # type: ignore[misc]

        await works(f"redis+cluster://{','.join(hosts)}")

        held = [int(server.command("DBSIZE")[1:]) for server in servers]
        assert all(held), "the channels are spread over the masters"


@pytest.mark.parametrize("library", ["redis", "nats"])
def test_a_missing_library_is_named_with_what_to_install(library: str) -> None:
    code = f"""
import sys
sys.modules[{library!r}] = None
from gateway.brokers.make import make_broker
from gateway.config.services import Broker
from gateway.errors import ConfigurationError
try:
    make_broker(Broker(type={library!r}, url="{library}://127.0.0.1:1"))
except ConfigurationError as exc:
    print(exc)
"""

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )

    assert f"pip install 'wsgate[{library}]'" in done.stdout


class Sentinel(RedisServer):
    """One sentinel that decides alone."""

    def __init__(self, master: int) -> None:
        super().__init__()
        self._options = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"dir {self.folder}",
            f"logfile {self.folder / 'redis.log'}",
            f"sentinel monitor mymaster 127.0.0.1 {master} 1",
            "sentinel down-after-milliseconds mymaster 500",
            "sentinel failover-timeout mymaster 2000",
        ]

    def _arguments(self) -> list[str]:
        return ["--sentinel"]
