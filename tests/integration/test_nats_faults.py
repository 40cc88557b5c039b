"""NATS as the broker when NATS fails. Real servers, ended by process id."""

import asyncio
import pickle
import secrets
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager

import pytest
from structlog.testing import capture_logs

from gateway.brokers.nats import NatsBroker, Timing
from gateway.channels.broker import ChannelRules
from gateway.channels.policy import ChannelPolicy, Policies
from gateway.channels.publication import Message
from gateway.channels.publishing import Source
from gateway.channels.service import ChannelService
from gateway.errors import (
    BrokerUnavailableError,
    ConfigurationError,
    UnsupportedByBrokerError,
)
from tests.contracts.broker import KEPT, PLAIN, Listener, Worker, eventually
from tests.integration.broker_faults import BrokerFaults, joined, publish, served, up
from tests.natsserver import NatsServer, find_nats

pytestmark = pytest.mark.skipif(find_nats() is None, reason="no nats-server here")

QUICK = Timing(ping=0.3)
KEEPING = ChannelRules(history_size=5000, history_ttl=600.0)
POLICIES = Policies([ChannelPolicy("kept.*", KEEPING)])


@pytest.fixture
def server() -> Iterator[NatsServer]:
    with NatsServer() as server:
        yield server


@pytest.fixture
def durable(server: NatsServer) -> NatsServer:
    return server


def serving(url: str, timing: Timing = QUICK) -> AbstractAsyncContextManager[ChannelService]:
    return served(NatsBroker(url, timing=timing), POLICIES)


class TestNatsFaults(BrokerFaults):
    def serving(self, server: NatsServer) -> AbstractAsyncContextManager[ChannelService]:
        return serving(server.url)


async def test_the_log_says_once_that_it_is_lost_and_once_that_it_is_back(server) -> None:
    with capture_logs() as logs:
        async with serving(server.url) as service:
            await up(service)
            for _ in range(2):
                server.kill()
                await eventually(lambda: not service.ready)
                server.start()
                await up(service)
    events = [(entry["log_level"], entry["event"]) for entry in logs]
    assert events == [("warning", "NATS cannot be reached"), ("info", "NATS is heard again")] * 2


async def test_away_at_the_start_the_log_says_so_and_when_it_is_there(server) -> None:
    server.kill()
    with capture_logs() as logs:
        async with serving(server.url) as service:
            await eventually(lambda: bool(logs))
            server.start()
            await up(service)
    assert [entry["event"] for entry in logs] == ["NATS cannot be reached", "NATS is heard again"]


async def test_silent_for_too_long_the_log_says_so_once(server) -> None:
    with capture_logs() as logs:
        async with serving(server.url) as service:
            await up(service)
            server.pause()
            try:
                await eventually(lambda: bool(logs))
            finally:
                server.resume()
            await eventually(lambda: len(logs) > 1)
    assert [entry["event"] for entry in logs] == ["NATS is silent", "NATS is heard again"]


async def test_refused_for_a_while_it_comes_back_when_the_password_holds_again() -> None:
    """The client library closes itself for good where the server refuses it by `-ERR`."""
    with NatsServer("authorization { token: right }") as server:
        async with serving(server.url.replace("//", "//right@")) as service:
            await up(service)
            listener = await joined(service, "room")

            server.options[:] = ["authorization { token: another }"]
            server.reload()
            await eventually(lambda: not service.ready)
            server.options[:] = ["authorization { token: right }"]
            server.reload()
            await up(service)

            await publish(service, "room", b"heard")
            await listener.hears(1)
            assert listener.told == ["gap"]


async def test_more_channels_than_the_server_permits_cost_no_more_than_a_while() -> None:
    with NatsServer("max_subscriptions: 20", jetstream=False) as server:
        async with serving(server.url) as service:
            await up(service)
            first = await joined(service, "room")
            late = [Listener(service.node) for _ in range(30)]
            await asyncio.gather(
                *(service.join(each, f"late.{n}") for n, each in enumerate(late)),
                return_exceptions=True,
            )
            await eventually(lambda: not service.ready)
            for each in late:
                await service.leave_all(each)
            await up(service)

            await publish(service, "room", b"heard")
            await eventually(lambda: b"heard" in first.heard)


async def test_after_a_pause_too_short_to_be_given_up_it_goes_on_where_it_was(server) -> None:
    async with serving(server.url, Timing(call=0.2, ping=5.0)) as service:
        await up(service)
        listener = await joined(service, "room")

        server.pause()
        try:
            with pytest.raises(BrokerUnavailableError):
                await publish(service, "room", b"unclear")
        finally:
            server.resume()
        await up(service)

        await publish(service, "room", b"heard")
        await eventually(lambda: b"heard" in listener.heard)
        assert listener.told == []


async def test_paused_it_fails_fast_and_recovers(server) -> None:
    async with serving(server.url) as service:
        await up(service)
        listener = await joined(service, "room")

        server.pause()
        try:
            for _ in range(3):
                with pytest.raises(BrokerUnavailableError):
                    await publish(service, "room", b"lost")
            await eventually(lambda: not service.ready)
        finally:
            server.resume()
        await up(service)

        await publish(service, "room", b"heard")
        await eventually(lambda: b"heard" in listener.heard)
        assert listener.told == ["gap"]


async def test_a_worker_that_does_not_keep_up_tells_of_the_gap(server) -> None:
    """The client library drops what its queue cannot hold, and says so."""
    async with serving(server.url) as service, serving(server.url) as other:
        await up(service, other)
        plain, kept = await joined(service, "room"), await joined(service, "kept.a")
        broker = service._broker
        assert isinstance(broker, NatsBroker)
        for _, subscription in broker._listening._subscriptions.values():
            subscription.inner._pending_bytes_limit = 1
        for name in ("room", "kept.a"):
            await publish(other, name, b"dropped")
        await eventually(lambda: plain.told == ["gap"])
        for _, subscription in broker._listening._subscriptions.values():
            subscription.inner._pending_bytes_limit = 10**6

        await publish(other, "kept.a", b"after")

        await kept.hears(2)
        assert kept.heard == [b"dropped", b"after"]
        assert kept.told == []


async def test_hostile_messages_are_dropped_and_counted(server) -> None:
    broker = NatsBroker(server.url)
    worker = Worker(broker)
    await broker.start(worker)
    hostile = [
        b"P",
        b"P1 e not msgpack",
        b"P1  \x93\xa0\xa0\xc4\x00",
        b'{"price": 1}',
        pickle.dumps(print),
        secrets.token_bytes(10_000).replace(b"P", b"X").replace(b"M", b"X"),
    ]
    try:
        await eventually(lambda: broker.ready)
        await broker.join("room", worker.member(), PLAIN)
        for payload in hostile:
            server.publish(broker._names.plain("room"), payload)

        await broker.publish("room", Message(b"good"), PLAIN)

        await eventually(lambda: worker.heard("room") == [b"good"])
        assert broker.malformed == len(hostile)
    finally:
        await broker.stop()


async def test_what_somebody_else_puts_into_a_stream_recovers_nothing(server) -> None:
    broker = NatsBroker(server.url)
    worker = Worker(broker)
    await broker.start(worker)
    try:
        await eventually(lambda: broker.ready)
        end = (await broker.publish("room", Message(b"one"), KEPT)).position
        subject = broker._names.kept("room", KEPT)
        server.publish(subject, b"P2 " + end.epoch.encode() + b" " + pickle.dumps(print))

        page = await broker.history("room", KEPT, since=end, limit=None)

        assert not page.recovered
        assert page.publications == ()
    finally:
        await broker.stop()


async def test_what_nats_cannot_do_is_refused_by_name(server) -> None:
    async with serving(server.url) as service:
        await up(service)
        for attempt in (
            service.open("room"),
            service.close("room"),
            service.state("room"),
            service.list("*"),
            service.publish("room", Message(b"x", key="k"), source=Source.API),
            service.publish("room", Message(bytes(1_100_000)), source=Source.API),
        ):
            with pytest.raises(UnsupportedByBrokerError, match="NATS"):
                await attempt


@pytest.mark.parametrize("prefix", ["", "*", "a b", "a.>", ".a", "a..b", "ä"])
def test_a_prefix_that_cannot_begin_a_subject_is_refused(prefix) -> None:
    with pytest.raises(ConfigurationError, match=r"broker\.prefix"):
        NatsBroker("nats://127.0.0.1:1", prefix=prefix)


@pytest.mark.parametrize("url", ["redis://127.0.0.1", "127.0.0.1:4222", "nats://a,b"])
def test_an_address_of_something_else_is_refused(url) -> None:
    with pytest.raises(ConfigurationError, match=r"broker\.url"):
        NatsBroker(url)
