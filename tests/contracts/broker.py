"""What every broker must do; one suite over all of them.

A test module subclasses `BrokerContract` (its name must begin with "Test") and gives it a fixture
`cluster`. Tests of what a broker's `abilities` lack are skipped, as are tests that need a clock
which can be moved where there is none.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import pytest

from gateway.channels.broker import Broker, ChannelRules, Member, Outcome, Receipt
from gateway.channels.policy import ChannelPolicy, Policies
from gateway.channels.publication import (
    BINARY_TYPE,
    JSON_TYPE,
    NOWHERE,
    Kind,
    Message,
    Position,
    Publication,
)
from gateway.channels.publishing import Source
from gateway.channels.service import ChannelService
from gateway.errors import (
    BrokerUnavailableError,
    ChannelFullError,
    ChannelNotFoundError,
    NodeGoneError,
)

DEADLINE = 10.0

PLAIN = ChannelRules()
KEPT = ChannelRules(history_size=5, history_ttl=60.0)
MANY_KEPT = ChannelRules(history_size=500, history_ttl=60.0)
PRESENT = ChannelRules(presence=True)
EXPLICIT = ChannelRules(explicit=True)


class Cluster(Protocol):
    """Where the brokers of one test meet: a memory exchange, a hub, a server."""

    moves_clock: bool
    """Whether `pass_time` moves a clock, so that minutes may pass in a test."""

    def broker(self) -> Broker:
        """One more worker's broker, not started; the suite stops it."""

    async def pass_time(self, seconds: float) -> None:
        """Let time pass: move the clock, or, for a real server, wait."""


class Worker:
    """A receiver that notes what it is told, and its broker."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.publications: list[Publication] = []
        self.events: list[tuple[str, str, Member | None]] = []

    def on_publication(self, publication: Publication) -> None:
        self.publications.append(publication)

    def on_join(self, channel: str, member: Member) -> None:
        self.events.append(("join", channel, member))

    def on_leave(self, channel: str, member: Member) -> None:
        self.events.append(("leave", channel, member))

    def on_closed(self, channel: str) -> None:
        self.events.append(("closed", channel, None))

    def on_gap(self, channel: str | None) -> None:
        self.events.append(("gap", channel or "", None))

    async def on_question(self, question: bytes) -> bytes:
        return self.broker.node.encode() + b" heard " + question

    def member(self, user: str = "") -> Member:
        """Somebody new, held by this worker."""
        return Member(self.broker.node + secrets.token_urlsafe(16), user)

    def heard(self, channel: str) -> list[bytes]:
        return [each.message.data for each in self.publications if each.channel == channel]

    async def hears(self, channel: str, last: bytes | None = None, *, count: int = 1) -> None:
        """Wait until so many publications have come, the last of them as given."""
        await eventually(
            lambda: (
                len(self.heard(channel)) >= count
                and (last is None or self.heard(channel)[-1] == last)
            )
        )

    async def is_told(self, event: str, channel: str, member: Member | None = None) -> None:
        """Wait until the event has come."""
        await eventually(lambda: (event, channel, member) in self.events)


class Listener:
    """A subscriber of a service that notes what it is told."""

    def __init__(self, node: str) -> None:
        self.id = node + secrets.token_urlsafe(16)
        self.user = ""
        self.heard: list[bytes] = []
        self.told: list[str] = []

    def deliver(self, publication: Publication) -> None:
        self.heard.append(publication.message.data)

    def on_join(self, channel: str, member: Member) -> None:
        self.told.append(f"join {member.id}")

    def on_leave(self, channel: str, member: Member) -> None:
        self.told.append(f"leave {member.id}")

    def lane(self) -> None: ...

    def on_channel_closed(self, channel: str) -> None:
        self.told.append("closed")

    def on_gap(self, channel: str) -> None:
        self.told.append("gap")

    async def hears(self, count: int) -> None:
        """Wait until so many publications have come."""
        await eventually(lambda: len(self.heard) >= count)


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait for a real peer until something holds."""
    async with asyncio.timeout(DEADLINE):
        while not holds():  # noqa: ASYNC110 - what is awaited is a list in a fake
            await asyncio.sleep(0.002)


class BrokerContract:
    """The suite; see the module's docstring."""

    @pytest.fixture
    def channel(self) -> str:
        """A name nobody has used before: real servers are shared by the tests."""
        return f"room.{secrets.token_hex(6)}"

    @pytest.fixture
    async def start(self, cluster: Cluster) -> AsyncIterator[Callable[[], Awaitable[Worker]]]:
        """Starts workers and stops them at the end."""
        workers: list[Worker] = []

        async def start() -> Worker:
            worker = Worker(cluster.broker())
            workers.append(worker)
            await worker.broker.start(worker)
            await eventually(lambda: worker.broker.ready)
            return worker

        yield start
        for worker in workers:
            await worker.broker.stop()

    @pytest.fixture
    async def worker(self, start: Callable[[], Awaitable[Worker]]) -> Worker:
        return await start()

    @pytest.fixture
    async def other(self, start: Callable[[], Awaitable[Worker]], worker: Worker) -> Worker:
        return await start()

    # Life

    async def test_a_started_broker_is_ready_and_stops_twice(self, worker) -> None:
        assert worker.broker.ready

        await worker.broker.stop()
        await worker.broker.stop()

        assert not worker.broker.ready

    async def test_every_life_of_a_worker_has_a_name_of_eight_characters(self, worker, other):
        assert len(worker.broker.node) == len(other.broker.node) == 8
        assert worker.broker.node != other.broker.node

    # Publishing

    async def test_a_publication_reaches_the_worker_of_a_subscriber_as_it_was_handed_in(
        self, worker, other, channel
    ):
        await worker.broker.join(channel, worker.member(), PLAIN)
        message = Message(b'{"a": 1}', JSON_TYPE, exclude="somebody")

        receipt = await other.broker.publish(channel, message, PLAIN)

        await eventually(lambda: bool(worker.publications))
        (publication,) = worker.publications
        assert publication.channel == channel
        assert publication.message.data == b'{"a": 1}'
        assert publication.message.content_type == JSON_TYPE
        assert publication.message.exclude == "somebody"
        assert publication.kind is Kind.JSON
        assert publication.position == receipt.position == NOWHERE

    @pytest.mark.parametrize("rules", [PLAIN, KEPT], ids=["plain", "with history"])
    @pytest.mark.parametrize(
        "data", [b"", bytes(range(256)), b"\r\n\0" * 30_000], ids=["empty", "all bytes", "90 KB"]
    )
    async def test_bytes_arrive_as_they_are(self, worker, other, channel, data, rules):
        self._skip_without(worker, history=rules.keeps_history)
        await worker.broker.join(channel, worker.member(), rules)

        await other.broker.publish(channel, Message(data, BINARY_TYPE), rules)

        await eventually(lambda: bool(worker.publications))
        assert worker.heard(channel) == [data]
        assert worker.publications[0].kind is Kind.BINARY

    async def test_what_calls_itself_text_but_is_not_goes_out_as_binary(self, worker, channel):
        await worker.broker.join(channel, worker.member(), PLAIN)

        await worker.broker.publish(channel, Message(b"\xff\xfe"), PLAIN)

        await eventually(lambda: bool(worker.publications))
        assert worker.publications[0].kind is Kind.BINARY

    async def test_a_publisher_hears_itself_when_it_has_subscribed(self, worker, channel):
        await worker.broker.join(channel, worker.member(), PLAIN)

        await worker.broker.publish(channel, Message(b"one"), PLAIN)

        await eventually(lambda: worker.heard(channel) == [b"one"])

    async def test_what_is_posted_is_published_in_its_place_and_its_receipt_told_once(
        self, worker, channel
    ):
        await worker.broker.join(channel, worker.member(), PLAIN)
        told: list[Outcome] = []

        for data in (b"one", b"two", b"three"):
            receipt = worker.broker.post(channel, Message(data), PLAIN, told.append)
            if receipt is not None:
                told.append(receipt)

        await eventually(lambda: len(told) == 3)
        assert told == [Receipt(1, NOWHERE)] * 3
        await eventually(lambda: worker.heard(channel) == [b"one", b"two", b"three"])

    async def test_a_posting_to_a_channel_that_is_not_open_is_told_or_raised(self, worker, channel):
        self._skip_without(worker, explicit=True)
        told: list[Outcome] = []

        try:
            assert worker.broker.post(channel, Message(b"x"), EXPLICIT, told.append) is None
        except ChannelNotFoundError as exc:
            told.append(exc)

        await eventually(lambda: len(told) == 1)
        assert isinstance(told[0], ChannelNotFoundError)

    async def test_every_worker_hears_a_publication_once_however_many_subscribe(
        self, worker, other, channel
    ):
        for each in (worker, worker, worker, other):
            await each.broker.join(channel, each.member(), PLAIN)

        await worker.broker.publish(channel, Message(b"one"), PLAIN)
        await worker.broker.publish(channel, Message(b"two"), PLAIN)

        for each in (worker, other):
            await each.hears(channel, b"two")
            assert each.heard(channel) == [b"one", b"two"]

    async def test_a_worker_without_subscribers_is_left_alone(self, worker, other, channel):
        await worker.broker.join(channel, worker.member(), PLAIN)
        await other.broker.join(f"{channel}.fence", other.member(), PLAIN)

        await worker.broker.publish(channel, Message(b"one"), PLAIN)
        await worker.broker.publish(f"{channel}.fence", Message(b"fence"), PLAIN)

        await eventually(lambda: bool(other.publications))
        assert other.heard(channel) == []

    async def test_after_the_last_has_left_nothing_arrives(self, worker, other, channel):
        first, second = worker.member(), worker.member()
        fence = f"{channel}.fence"
        await worker.broker.join(fence, first, PLAIN)
        for member in (first, second):
            await worker.broker.join(channel, member, PLAIN)

        await worker.broker.leave(channel, first)
        await other.broker.publish(channel, Message(b"to the second"), PLAIN)
        await eventually(lambda: bool(worker.publications))
        await worker.broker.leave(channel, second)
        await other.broker.publish(channel, Message(b"to nobody"), PLAIN)
        await other.broker.publish(fence, Message(b"fence"), PLAIN)

        await eventually(lambda: bool(worker.heard(fence)))
        assert worker.heard(channel) == [b"to the second"]

    async def test_who_comes_back_hears_again(self, worker, other, channel):
        member = worker.member()
        for _ in range(3):
            await worker.broker.join(channel, member, PLAIN)
            await worker.broker.leave(channel, member)
        await worker.broker.join(channel, member, PLAIN)

        await other.broker.publish(channel, Message(b"one"), PLAIN)

        await eventually(lambda: worker.heard(channel) == [b"one"])

    async def test_calls_about_a_channel_take_effect_in_their_order(self, worker, other, channel):
        member, broker = worker.member(), worker.broker
        rules = PRESENT if broker.abilities.presence else PLAIN
        calls: list[Awaitable[object]] = []
        for _ in range(10):
            calls += [broker.join(channel, member, rules), broker.leave(channel, member)]
        calls.append(broker.join(channel, member, rules))
        await asyncio.gather(*calls)

        receipt = await other.broker.publish(channel, Message(b"one"), rules)

        await eventually(lambda: worker.heard(channel) == [b"one"])
        if broker.abilities.exact_counts:
            assert receipt.subscribers == 1

    async def test_leaving_without_having_joined_changes_nothing(self, worker, channel):
        await worker.broker.leave(channel, worker.member())

        if worker.broker.abilities.presence:
            assert await worker.broker.presence(channel) == ()

    @pytest.mark.parametrize(
        "name",
        [
            "a.b",
            ".a",
            "a.",
            "a..b",
            "ä",
            "日本",
            "a/b",
            "a:b",
            "'",
            '"',
            "{a}",
            "$SYS",
            "a,b",
            "%41",
        ],
    )
    async def test_a_name_means_itself_and_nothing_else(self, worker, other, channel, name):
        name = channel + name
        await worker.broker.join(name, worker.member(), PLAIN)
        for near in (f"{name}.x", f"x{name}", name[:-1], name + name[-1]):
            await other.broker.publish(near, Message(b"near"), PLAIN)

        await other.broker.publish(name, Message(b"meant"), PLAIN)

        await eventually(lambda: bool(worker.publications))
        assert [each.channel for each in worker.publications] == [name]

    @pytest.mark.parametrize(
        ("name", "near"), [("r?om", "room"), ("[rx]oom", "room"), ("r\\x", "rx")]
    )
    async def test_signs_of_a_pattern_in_a_name_are_letters(
        self, worker, other, channel, name, near
    ):
        await worker.broker.join(channel + name, worker.member(), PLAIN)

        await other.broker.publish(channel + near, Message(b"near"), PLAIN)
        await other.broker.publish(channel + name, Message(b"meant"), PLAIN)

        await eventually(lambda: bool(worker.publications))
        assert [each.message.data for each in worker.publications] == [b"meant"]

    async def test_the_longest_name_works(self, worker, other, channel):
        name = (channel + "x" * 255)[:255]
        await worker.broker.join(name, worker.member(), PLAIN)

        await other.broker.publish(name, Message(b"one"), PLAIN)

        await eventually(lambda: worker.heard(name) == [b"one"])

    async def test_a_receipt_counts_the_subscribers_of_all_workers(self, worker, other, channel):
        self._skip_without(worker, exact_counts=True)
        again = worker.member()
        for each, member in [
            (worker, again),
            (worker, again),
            (worker, worker.member()),
            (other, other.member()),
        ]:
            await each.broker.join(channel, member, PLAIN)

        assert (await other.broker.publish(channel, Message(b"one"), PLAIN)).subscribers == 3

        await worker.broker.leave(channel, again)
        assert (await other.broker.publish(channel, Message(b"two"), PLAIN)).subscribers == 2

    async def test_a_message_to_nobody_is_no_error(self, worker, channel):
        receipt = await worker.broker.publish(channel, Message(b"one"), PLAIN)

        assert receipt.subscribers == 0
        assert receipt.position == NOWHERE

    # History

    async def test_offsets_grow_by_one_in_one_epoch(self, worker, other, channel):
        self._skip_without(worker, history=True)

        receipts = [
            await each.broker.publish(channel, Message(b"x"), KEPT)
            for each in (worker, other, worker, other)
        ]

        assert [each.position.offset for each in receipts] == [1, 2, 3, 4]
        assert len({each.position.epoch for each in receipts}) == 1
        assert receipts[0].position.epoch

    async def test_publications_raced_by_two_workers_have_one_order_for_everybody(
        self, worker, other, channel
    ):
        self._skip_without(worker, history=True)
        for each in (worker, other):
            await each.broker.join(channel, each.member(), MANY_KEPT)

        receipts = await asyncio.gather(
            *(
                each.broker.publish(channel, Message(f"{each.broker.node} {n}".encode()), MANY_KEPT)
                for n in range(50)
                for each in (worker, other)
            )
        )

        assert sorted(each.position.offset for each in receipts) == list(range(1, 101))
        for each in (worker, other):
            await each.hears(channel, count=100)
            offsets = [publication.position.offset for publication in each.publications]
            assert offsets == list(range(1, 101))
        assert worker.heard(channel) == other.heard(channel)

    async def test_history_without_since_is_the_newest_oldest_first(self, worker, other, channel):
        self._skip_without(worker, history=True)
        await self._publish(worker, channel, KEPT, 8)

        page = await other.broker.history(channel, KEPT, since=None, limit=2)
        everything = await other.broker.history(channel, KEPT, since=None, limit=None)

        assert self._numbers(page.publications) == [7, 8]
        assert self._numbers(everything.publications) == [4, 5, 6, 7, 8]
        assert [each.position.offset for each in everything.publications] == [4, 5, 6, 7, 8]
        assert page.position.offset == everything.position.offset == 8
        assert page.recovered
        assert everything.publications[0].channel == channel

    async def test_history_keeps_type_exclusion_and_kind(self, worker, channel):
        self._skip_without(worker, history=True)
        await worker.broker.publish(channel, Message(b"{}", JSON_TYPE, exclude="me"), KEPT)

        page = await worker.broker.history(channel, KEPT, since=None, limit=None)

        (publication,) = page.publications
        assert publication.kind is Kind.JSON
        assert publication.message.content_type == JSON_TYPE
        assert publication.message.exclude == "me"

    async def test_since_gives_all_that_followed(self, worker, other, channel):
        self._skip_without(worker, history=True)
        start = await worker.broker.join(channel, worker.member(), KEPT)
        await self._publish(worker, channel, KEPT, 5)

        whole = await other.broker.history(channel, KEPT, since=start, limit=None)
        part = await other.broker.history(channel, KEPT, since=Position(3, start.epoch), limit=None)
        nothing = await other.broker.history(channel, KEPT, since=whole.position, limit=None)

        assert start.offset == 0
        assert start.epoch
        assert self._numbers(whole.publications) == [1, 2, 3, 4, 5]
        assert self._numbers(part.publications) == [4, 5]
        assert nothing.publications == ()
        assert nothing.recovered

    async def test_since_past_the_oldest_kept_gives_nothing_rather_than_a_part(
        self, worker, channel
    ):
        self._skip_without(worker, history=True)
        start = await worker.broker.join(channel, worker.member(), KEPT)
        await self._publish(worker, channel, KEPT, 6)

        page = await worker.broker.history(channel, KEPT, since=start, limit=None)

        assert not page.recovered
        assert page.publications == ()
        assert page.position.offset == 6

    @pytest.mark.parametrize("offset", [-1, -(10**30), 4, 10**30])
    async def test_a_position_the_stream_never_had_is_refused(self, worker, channel, offset):
        self._skip_without(worker, history=True)
        epoch = (await self._publish(worker, channel, KEPT, 3)).epoch

        page = await worker.broker.history(channel, KEPT, since=Position(offset, epoch), limit=None)

        assert not page.recovered
        assert page.publications == ()

    @pytest.mark.parametrize("epoch", ["", "other", "x" * 1000, "ä\n*"])
    async def test_a_position_of_another_life_is_refused(self, worker, channel, epoch):
        self._skip_without(worker, history=True)
        await self._publish(worker, channel, KEPT, 3)

        page = await worker.broker.history(channel, KEPT, since=Position(2, epoch), limit=None)

        assert not page.recovered
        assert page.publications == ()

    async def test_what_is_older_than_its_time_cannot_be_resumed(self, cluster, worker, channel):
        self._skip_without(worker, history=True)
        rules = ChannelRules(history_size=5, history_ttl=1.0)
        start = await worker.broker.join(channel, worker.member(), rules)
        end = await self._publish(worker, channel, rules, 2)

        await cluster.pass_time(1.2)

        page = await worker.broker.history(channel, rules, since=start, limit=None)
        assert not page.recovered
        assert page.publications == ()
        kept = await worker.broker.history(channel, rules, since=None, limit=None)
        assert kept.publications == ()
        nothing_missed = await worker.broker.history(channel, rules, since=end, limit=None)
        assert nothing_missed.recovered

    async def test_joining_tells_the_position_from_which_on_nothing_is_missed(
        self, worker, other, channel
    ):
        self._skip_without(worker, history=True)
        await self._publish(other, channel, KEPT, 3)

        position = await worker.broker.join(channel, worker.member(), KEPT)
        receipt = await other.broker.publish(channel, Message(b"four"), KEPT)

        assert position == Position(3, receipt.position.epoch)
        await eventually(lambda: b"four" in worker.heard(channel))
        assert worker.publications[-1].position == receipt.position

    async def test_history_outlives_the_worker_that_made_it(self, start, worker, channel):
        self._skip_without(worker, history=True)
        short_lived = await start()
        position = await short_lived.broker.join(channel, short_lived.member(), KEPT)
        await self._publish(short_lived, channel, KEPT, 3)
        await short_lived.broker.stop()

        page = await worker.broker.history(channel, KEPT, since=position, limit=None)

        assert self._numbers(page.publications) == [1, 2, 3]

    async def test_a_channel_that_never_was_has_an_empty_history(self, worker, channel):
        self._skip_without(worker, history=True)

        page = await worker.broker.history(channel, KEPT, since=None, limit=None)

        assert page.publications == ()
        assert page.recovered

    # Explicit channels

    async def test_an_explicit_channel_must_be_opened_first(self, worker, other, channel):
        self._skip_without(worker, explicit=True)
        with pytest.raises(ChannelNotFoundError):
            await worker.broker.join(channel, worker.member(), EXPLICIT)
        with pytest.raises(ChannelNotFoundError):
            await worker.broker.publish(channel, Message(b"one"), EXPLICIT)
        assert await worker.broker.state(channel) is None

        assert await other.broker.open(channel, EXPLICIT) is True
        assert await worker.broker.open(channel, EXPLICIT) is False

        await worker.broker.join(channel, worker.member(), EXPLICIT)
        await other.broker.publish(channel, Message(b"one"), EXPLICIT)
        await eventually(lambda: worker.heard(channel) == [b"one"])

    async def test_a_closed_explicit_channel_must_be_opened_again(self, worker, other, channel):
        self._skip_without(worker, explicit=True)
        await worker.broker.open(channel, EXPLICIT)

        assert await other.broker.close(channel) is True

        with pytest.raises(ChannelNotFoundError):
            await worker.broker.join(channel, worker.member(), EXPLICIT)

    # Closing

    async def test_closing_tells_every_worker_with_subscribers(self, worker, other, channel):
        self._skip_without(worker, explicit=True)
        for each in (worker, other):
            await each.broker.join(channel, each.member(), PLAIN)

        assert await worker.broker.close(channel) is True

        for each in (worker, other):
            await each.is_told("closed", channel)
        receipt = await other.broker.publish(channel, Message(b"one"), PLAIN)
        assert receipt.subscribers == 0

    async def test_closing_what_is_not_there_is_false(self, worker, channel):
        self._skip_without(worker, explicit=True)

        assert await worker.broker.close(channel) is False

    async def test_closing_forgets_the_history_and_begins_a_new_life(self, worker, channel):
        self._skip_without(worker, history=True, explicit=True)
        before = await self._publish(worker, channel, KEPT, 3)

        await worker.broker.close(channel)

        page = await worker.broker.history(channel, KEPT, since=before, limit=None)
        assert not page.recovered
        after = await self._publish(worker, channel, KEPT, 3)
        assert after.offset == 3
        assert after.epoch != before.epoch

    async def test_a_closed_channel_can_be_joined_anew(self, worker, other, channel):
        self._skip_without(worker, explicit=True)
        member = worker.member()
        await worker.broker.join(channel, member, PLAIN)
        await other.broker.close(channel)
        await eventually(lambda: ("closed", channel, None) in worker.events)

        await worker.broker.join(channel, member, PLAIN)

        await other.broker.publish(channel, Message(b"one"), PLAIN)
        await eventually(lambda: worker.heard(channel) == [b"one"])

    # Limits

    async def test_a_full_channel_refuses_whichever_worker_asks(self, worker, other, channel):
        self._skip_without(worker, exact_counts=True)
        rules = ChannelRules(max_subscribers=2)
        first = worker.member()
        await worker.broker.join(channel, first, rules)
        await other.broker.join(channel, other.member(), rules)

        for each in (worker, other):
            with pytest.raises(ChannelFullError):
                await each.broker.join(channel, each.member(), rules)
        await worker.broker.join(channel, first, rules)

        await worker.broker.leave(channel, first)
        await other.broker.join(channel, other.member(), rules)

    async def test_joins_raced_by_two_workers_never_exceed_the_limit(self, worker, other, channel):
        self._skip_without(worker, exact_counts=True)
        rules = ChannelRules(max_subscribers=5)

        results = await asyncio.gather(
            *(
                each.broker.join(channel, each.member(), rules)
                for _ in range(10)
                for each in (worker, other)
            ),
            return_exceptions=True,
        )

        assert sum(not isinstance(each, ChannelFullError) for each in results) == 5
        assert sum(isinstance(each, Position) for each in results) == 5

    # Presence

    async def test_members_are_seen_from_every_worker_each_once(self, worker, other, channel):
        self._skip_without(worker, presence=True)
        ada, bob = worker.member("ada"), other.member("bob")
        await worker.broker.join(channel, ada, PRESENT)
        await worker.broker.join(channel, ada, PRESENT)
        await other.broker.join(channel, bob, PRESENT)

        for each in (worker, other):
            assert set(await each.broker.presence(channel)) == {ada, bob}
            assert len(await each.broker.presence(channel)) == 2

        await worker.broker.leave(channel, ada)
        assert await other.broker.presence(channel) == (bob,)

    async def test_coming_and_going_are_told_once_to_every_worker_with_members(
        self, worker, other, channel
    ):
        self._skip_without(worker, presence=True)
        ada, bob = worker.member("ada"), other.member("bob")
        await worker.broker.join(channel, ada, PRESENT)

        await other.broker.join(channel, bob, PRESENT)
        await other.broker.join(channel, bob, PRESENT)
        await other.broker.leave(channel, bob)
        await other.broker.leave(channel, bob)
        await worker.broker.publish(channel, Message(b"fence"), PRESENT)

        await eventually(lambda: bool(worker.publications))
        await eventually(lambda: ("leave", channel, bob) in worker.events)
        about_bob = [event for event in worker.events if event[2] == bob]
        assert about_bob == [("join", channel, bob), ("leave", channel, bob)]

    async def test_without_presence_nobody_is_told(self, worker, other, channel):
        await worker.broker.join(channel, worker.member(), PLAIN)
        bob = other.member("bob")

        await other.broker.join(channel, bob, PLAIN)
        await other.broker.leave(channel, bob)
        await other.broker.publish(channel, Message(b"fence"), PLAIN)

        await eventually(lambda: bool(worker.publications))
        assert worker.events == []

    async def test_the_members_of_a_worker_that_stops_are_gone_for_the_others(
        self, worker, other, channel
    ):
        self._skip_without(worker, presence=True)
        ada, bob = worker.member("ada"), other.member("bob")
        await worker.broker.join(channel, ada, PRESENT)
        await other.broker.join(channel, bob, PRESENT)

        await other.broker.stop()

        await eventually(lambda: ("leave", channel, bob) in worker.events)
        assert await worker.broker.presence(channel) == (ada,)

    # State and listing

    async def test_the_state_counts_subscribers_and_kept_messages(self, worker, other, channel):
        self._skip_without(worker, history=True, listing=True)
        assert await worker.broker.state(channel) is None
        await worker.broker.join(channel, worker.member(), KEPT)
        position = await self._publish(other, channel, KEPT, 7)

        state = await other.broker.state(channel)

        assert state is not None
        assert state.name == channel
        assert state.messages == 5
        assert state.position == position
        if worker.broker.abilities.exact_counts:
            assert state.subscribers == 1

    async def test_channels_are_listed_by_name_in_pages(self, worker, other, channel):
        self._skip_without(worker, listing=True, explicit=True)
        names = sorted(f"{channel}.{n:02}" for n in range(7))
        for name in reversed(names):
            await worker.broker.open(name, PLAIN)

        pages, after = [], ""
        while True:
            page, cursor = await other.broker.list(f"{channel}.*", limit=3, after=after)
            pages.append([state.name for state in page])
            if cursor is None:
                break
            after = cursor

        assert pages == [names[:3], names[3:6], names[6:]]

    async def test_only_a_star_is_a_pattern_when_listing(self, worker, channel):
        self._skip_without(worker, listing=True, explicit=True)
        for name in (f"{channel}.a", f"{channel}.[ab]", f"{channel}.?"):
            await worker.broker.open(name, PLAIN)

        async def listed(match: str) -> list[str]:
            page, _ = await worker.broker.list(match, limit=10, after="")
            return [state.name.removeprefix(channel) for state in page]

        assert await listed(f"{channel}.[ab]") == [".[ab]"]
        assert await listed(f"{channel}.?") == [".?"]
        assert await listed(f"{channel}.*") == [".?", ".[ab]", ".a"]
        assert await listed("*" + channel.removeprefix("room") + ".a") == [".a"]

    # Idempotency

    @pytest.mark.parametrize("rules", [PLAIN, KEPT], ids=["plain", "with history"])
    async def test_a_key_is_published_once(self, worker, other, channel, rules):
        self._skip_without(worker, idempotency=True, history=rules.keeps_history)
        await worker.broker.join(channel, worker.member(), rules)

        first = await worker.broker.publish(channel, Message(b"one", key="k"), rules)
        again = await other.broker.publish(channel, Message(b"other", key="k"), rules)
        await other.broker.publish(channel, Message(b"two", key="l"), rules)

        await eventually(lambda: b"two" in worker.heard(channel))
        assert worker.heard(channel) == [b"one", b"two"]
        assert not first.repeated
        assert again.repeated
        assert again.position == first.position
        assert again.subscribers == first.subscribers

    async def test_a_key_raced_by_two_workers_is_published_once(self, worker, other, channel):
        self._skip_without(worker, idempotency=True, history=True)

        receipts = await asyncio.gather(
            *(
                each.broker.publish(channel, Message(b"x", key="same"), KEPT)
                for _ in range(10)
                for each in (worker, other)
            )
        )

        assert sum(not each.repeated for each in receipts) == 1
        assert {each.position.offset for each in receipts} == {1}

    async def test_a_key_counts_for_its_channel_only(self, worker, channel):
        self._skip_without(worker, idempotency=True)

        for name in (channel, f"{channel}.b"):
            receipt = await worker.broker.publish(name, Message(b"x", key="k"), PLAIN)
            assert not receipt.repeated

    async def test_a_key_counts_for_five_minutes(self, cluster, worker, channel):
        self._skip_without(worker, idempotency=True)
        if not cluster.moves_clock:
            pytest.skip("the clock of a real server cannot be moved")
        message = Message(b"x", key="k")
        await worker.broker.publish(channel, message, PLAIN)

        await cluster.pass_time(299)
        assert (await worker.broker.publish(channel, message, PLAIN)).repeated
        await cluster.pass_time(2)
        assert not (await worker.broker.publish(channel, message, PLAIN)).repeated

    # Forgetting

    async def test_an_idle_auto_channel_is_forgotten_and_an_opened_one_is_not(
        self, cluster, worker, channel
    ):
        self._skip_without(worker, explicit=True, listing=True)
        if not cluster.moves_clock:
            pytest.skip("the clock of a real server cannot be moved")
        member = worker.member()
        await worker.broker.open(f"{channel}.opened", PLAIN)
        await worker.broker.join(channel, member, PLAIN)
        await cluster.pass_time(60)
        assert await worker.broker.state(channel) is not None

        await worker.broker.leave(channel, member)
        await cluster.pass_time(29)
        assert await worker.broker.state(channel) is not None
        await cluster.pass_time(2)

        assert await worker.broker.state(channel) is None
        assert await worker.broker.state(f"{channel}.opened") is not None

    async def test_a_channel_with_history_is_kept_until_it_has_expired(
        self, cluster, worker, channel
    ):
        self._skip_without(worker, history=True, listing=True)
        if not cluster.moves_clock:
            pytest.skip("the clock of a real server cannot be moved")
        end = await self._publish(worker, channel, KEPT, 1)

        await cluster.pass_time(59)
        page = await worker.broker.history(channel, KEPT, since=Position(0, end.epoch), limit=None)
        assert len(page.publications) == 1
        await cluster.pass_time(2)

        assert await worker.broker.state(channel) is None
        assert (await self._publish(worker, channel, KEPT, 1)).epoch != end.epoch

    # Questions

    async def test_a_question_reaches_the_worker_of_that_name(self, worker, other):
        for asking in (worker, other):
            question = b"\0\xff" * 20_000
            answer = await asking.broker.ask(other.broker.node, question)
            assert answer == other.broker.node.encode() + b" heard " + question

    async def test_many_questions_at_once_get_their_own_answers(self, worker, other):
        answers = await asyncio.gather(
            *(worker.broker.ask(other.broker.node, b"%d" % n) for n in range(50))
        )

        assert [each.split()[-1] for each in answers] == [b"%d" % n for n in range(50)]

    @pytest.mark.parametrize("node", ["AAAAAAAA", "", "*", ">", "a b\n"])
    async def test_nobody_of_that_name_is_an_error(self, worker, node):
        with pytest.raises(NodeGoneError):
            await worker.broker.ask(node, b"?")

    async def test_a_worker_that_has_stopped_cannot_be_asked(self, worker, other):
        await other.broker.stop()

        async def ask_until_it_is_known() -> None:
            # A server may see the end of a connection a moment later: what it still passes on to
            # it is lost.
            for _ in range(3):
                with contextlib.suppress(BrokerUnavailableError):
                    await worker.broker.ask(other.broker.node, b"?")

        with pytest.raises(NodeGoneError):
            await ask_until_it_is_known()

    # Behind the service

    async def test_a_subscriber_resumes_at_another_worker_without_gap_or_duplicate(
        self, cluster, channel
    ):
        policies = Policies([ChannelPolicy("*", MANY_KEPT)])
        services = [ChannelService(cluster.broker(), policies) for _ in range(2)]
        for service in services:
            await service.start()
        try:
            await eventually(lambda: all(service.ready for service in services))
            if not services[0].abilities.history:
                pytest.skip("the broker keeps no history")
            await self._resume_again_and_again(services, channel)
        finally:
            for service in services:
                await service.stop()

    async def _resume_again_and_again(self, services: list[ChannelService], channel: str) -> None:
        position = (await services[0].join(Listener(services[0].node), channel)).position
        heard: list[bytes] = []
        total = 200

        async def publish() -> None:
            for n in range(1, total + 1):
                await services[n % 2].publish(channel, Message(b"%d" % n), source=Source.API)
                await asyncio.sleep(0)

        publishing = asyncio.create_task(publish())
        turn = 0
        while len(heard) < total:
            service = services[turn % 2]
            turn += 1
            listener = Listener(service.node)
            joined = await service.join(listener, channel, since=position)
            assert joined.recovered
            heard += [each.message.data for each in joined.publications]
            await listener.hears(min(5, total - len(heard)))
            await service.leave_all(listener)
            assert listener.told == []
            heard += listener.heard
            position = Position(len(heard), position.epoch)
        await publishing

        assert heard == [b"%d" % n for n in range(1, total + 1)]

    # What the tests share

    def _skip_without(self, worker: Worker, **needed: bool) -> None:
        for ability, wanted in needed.items():
            if wanted and not getattr(worker.broker.abilities, ability):
                pytest.skip(f"the broker is not able: {ability}")

    async def _publish(
        self, worker: Worker, channel: str, rules: ChannelRules, count: int
    ) -> Position:
        position = NOWHERE
        for n in range(1, count + 1):
            receipt = await worker.broker.publish(channel, Message(b"%d" % n), rules)
            position = receipt.position
        return position

    def _numbers(self, publications: tuple[Publication, ...]) -> list[int]:
        return [int(publication.message.data) for publication in publications]
