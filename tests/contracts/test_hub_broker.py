"""The hub broker: the contract, and what happens when its socket breaks."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from gateway.brokers.books import Books
from gateway.brokers.hub_broker import HubBroker
from gateway.brokers.hub_channels import HubChannels
from gateway.brokers.hub_client import HubClient
from gateway.brokers.hub_server import Hub, address
from gateway.channels.broker import ChannelRules, Outcome, Receipt
from gateway.channels.publication import NOWHERE, Message
from gateway.clock import ManualClock
from gateway.errors import BrokerUnavailableError, ChannelFullError, ChannelNotFoundError
from gateway.sessions.identity import new_node
from tests.contracts.broker import (
    EXPLICIT,
    KEPT,
    PLAIN,
    PRESENT,
    BrokerContract,
    Worker,
    eventually,
)


class HubCluster:
    """Workers of one process around a real hub on a real socket, whose clock stands."""

    moves_clock = True

    def __init__(self) -> None:
        self._clock = ManualClock()
        self._place = address()
        self.books = Books()
        self.hub = Hub()
        self.channels = HubChannels(self.hub, self.books, clock=self._clock.monotonic)

    async def listen(self) -> None:
        await self.hub.listen(self._place)
        self.channels.start()

    async def close(self) -> None:
        self.channels.stop()
        await self.hub.close()

    def broker(self) -> HubBroker:
        return HubBroker(HubClient(self._place, new_node()))

    async def pass_time(self, seconds: float) -> None:
        self._clock.advance(seconds)


@pytest.fixture
async def cluster() -> AsyncIterator[HubCluster]:
    cluster = HubCluster()
    await cluster.listen()
    yield cluster
    await cluster.close()


class TestHubBroker(BrokerContract):
    """The contract, and what only a broker with a socket can show."""

    async def test_calls_fail_at_once_while_the_hub_is_away(self, cluster, worker, channel) -> None:
        await cluster.hub.close()
        await eventually(lambda: not worker.broker.ready)

        with pytest.raises(BrokerUnavailableError):
            await worker.broker.publish(channel, Message(b"one"), PLAIN)
        with pytest.raises(BrokerUnavailableError):
            await worker.broker.join(channel, worker.member(), PLAIN)
        with pytest.raises(BrokerUnavailableError):
            worker.broker.post(channel, Message(b"one"), PLAIN, pytest.fail)
        await worker.broker.leave(channel, worker.member())

    async def test_whoever_cannot_take_an_answer_costs_the_others_nothing(
        self, worker, channel
    ) -> None:
        def broken(_: Outcome) -> None:
            raise ZeroDivisionError

        told: list[Outcome] = []
        with capture_logs() as logs:
            worker.broker.post(channel, Message(b"one"), PLAIN, broken)
            worker.broker.post(channel, Message(b"two"), PLAIN, told.append)
            await eventually(lambda: bool(told))

        assert told == [Receipt(0, NOWHERE)]
        assert [entry["event"] for entry in logs] == ["an answer of the hub could not be taken"]

    async def test_a_posting_under_way_when_the_hub_goes_is_told(
        self, cluster, worker, channel
    ) -> None:
        told: list[Outcome] = []
        worker.broker.post(channel, Message(b"one"), PLAIN, told.append)

        cluster.hub.drop_connections()

        await eventually(lambda: bool(told))
        assert isinstance(told[0], BrokerUnavailableError)

    async def test_a_worker_starts_without_a_hub_and_finds_it_later(self, channel) -> None:
        cluster = HubCluster()
        worker = Worker(cluster.broker())
        await worker.broker.start(worker)
        assert not worker.broker.ready

        await cluster.listen()

        await eventually(lambda: worker.broker.ready)
        await worker.broker.join(channel, worker.member(), PLAIN)
        assert ("gap", "", None) not in worker.events
        await worker.broker.stop()
        await cluster.close()

    async def test_a_broken_socket_is_connected_again_and_told_as_one_gap(
        self, cluster, worker, other, channel
    ) -> None:
        member = worker.member("ada")
        await worker.broker.join(channel, member, KEPT)

        cluster.hub.drop_connections()

        await worker.is_told("gap", "")
        await other.is_told("gap", "")
        receipt = await other.broker.publish(channel, Message(b"after"), KEPT)
        assert receipt.subscribers == 1
        await worker.hears(channel, b"after")
        assert worker.events.count(("gap", "", None)) == 1

    async def test_publications_of_the_outage_are_in_the_history(
        self, cluster, worker, other, channel
    ) -> None:
        position = await worker.broker.join(channel, worker.member(), KEPT)
        cluster.hub.drop_connections()
        await other.is_told("gap", "")
        await other.broker.publish(channel, Message(b"missed"), KEPT)

        await worker.is_told("gap", "")

        page = await worker.broker.history(channel, KEPT, since=position, limit=None)
        assert [each.message.data for each in page.publications] == [b"missed"]

    async def test_who_left_during_the_outage_stays_gone(self, cluster, worker, channel) -> None:
        stays, goes = worker.member("stays"), worker.member("goes")
        for member in (stays, goes):
            await worker.broker.join(channel, member, PRESENT)

        cluster.hub.drop_connections()
        await eventually(lambda: not worker.broker.ready)
        await worker.broker.leave(channel, goes)

        await worker.is_told("gap", "")
        assert await worker.broker.presence(channel) == (stays,)

    async def test_members_come_back_into_a_channel_that_has_filled_meanwhile(
        self, cluster, worker, channel
    ) -> None:
        rules = ChannelRules(max_subscribers=1)
        await worker.broker.join(channel, worker.member(), rules)
        cluster.hub.drop_connections()
        await worker.is_told("gap", "")

        with pytest.raises(ChannelFullError):
            await worker.broker.join(channel, worker.member(), rules)

    async def test_a_channel_closed_during_the_outage_is_told_as_closed(
        self, cluster, worker, channel
    ) -> None:
        await worker.broker.open(channel, EXPLICIT)
        await worker.broker.join(channel, worker.member(), EXPLICIT)
        cluster.hub.drop_connections()
        cluster.books.close(channel, 0.0)

        await worker.is_told("closed", channel)

        with pytest.raises(ChannelNotFoundError):
            await worker.broker.join(channel, worker.member(), EXPLICIT)

    async def test_leaving_while_joining_leaves_nobody_behind(
        self, cluster, worker, channel
    ) -> None:
        member = worker.member()
        await asyncio.gather(
            worker.broker.join(channel, member, PRESENT), worker.broker.leave(channel, member)
        )
        cluster.hub.drop_connections()
        await worker.is_told("gap", "")

        assert await worker.broker.presence(channel) == ()

    async def test_a_history_larger_than_one_part_arrives_whole(self, worker, channel) -> None:
        rules = ChannelRules(history_size=10, history_ttl=60.0)
        body = b"x" * 300_000
        for _ in range(7):
            await worker.broker.publish(channel, Message(body), rules)

        page = await worker.broker.history(channel, rules, since=None, limit=None)

        assert [len(each.message.data) for each in page.publications] == [300_000] * 7
        assert [each.position.offset for each in page.publications] == list(range(1, 8))

    async def test_text_that_is_no_unicode_is_carried_all_the_same(self, worker, channel) -> None:
        message = Message(b"one", "text/plain; name=\udcff", key="\udcff")
        first = await worker.broker.publish(channel, message, PLAIN)
        again = await worker.broker.publish(channel, message, PLAIN)

        assert not first.repeated
        assert again.repeated
