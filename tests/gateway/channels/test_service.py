import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.channels.broker import ChannelRules, Member
from gateway.channels.policy import Authorization, ChannelPolicy, Policies
from gateway.channels.publication import BINARY_TYPE, NOWHERE, Message, Position
from gateway.channels.publishing import Broadcast, Source
from gateway.channels.service import ChannelService
from gateway.errors import (
    ChannelForbiddenError,
    ChannelFullError,
    ChannelNameError,
    ChannelNotFoundError,
    NotTextError,
    SubscriberGoneError,
)


async def publish(service: ChannelService, channel: str, *words: str, exclude: str = "") -> None:
    for word in words:
        message = Message(word.encode(), exclude=exclude)
        await service.publish(channel, message, source=Source.API)


class Gate:
    """An authorizer that answers when it is opened."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.asked: list[tuple[str, str, str]] = []
        self.refuse = False

    async def authorize(self, subscriber, channel, authorization) -> None:
        self.asked.append((subscriber.id, channel, authorization.script))
        await self.opened.wait()
        if self.refuse:
            raise ChannelForbiddenError(channel)


@pytest.fixture
def gate(service: ChannelService) -> Gate:
    gate = Gate()
    service.policies = Policies(
        [ChannelPolicy("*", authorization=Authorization("app", "/authorize.php"))]
    )
    service._joining.authorizer = gate
    return gate


# Publishing


async def test_a_publication_made_after_the_join_is_delivered(service, subscriber):
    one = subscriber()
    await service.join(one, "room")

    await publish(service, "room", "hello")

    assert one.heard == [b"hello"]
    assert service.deliveries == 1
    assert service.publications[Source.API] == 1


async def test_the_excluded_connection_alone_hears_nothing(service, subscriber):
    sender, other = subscriber("sender"), subscriber("other")
    for each in (sender, other):
        await service.join(each, "room")

    await publish(service, "room", "hello", exclude="sender")

    assert sender.heard == []
    assert other.heard == [b"hello"]


async def test_text_that_is_not_utf8_is_refused_and_binary_is_not(service):
    with pytest.raises(NotTextError):
        await service.publish("room", Message(b"\xff"), source=Source.API)

    await service.publish("room", Message(b"\xff", BINARY_TYPE), source=Source.API)


@pytest.mark.parametrize("name", ["", "a b", "room.*", "x" * 256, "a\n"])
async def test_a_bad_name_is_refused_by_every_call_that_takes_one(service, subscriber, name):
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: service.publish(name, Message(b""), source=Source.API),
        lambda: service.join(subscriber(), name),
        lambda: service.open(name),
        lambda: service.close(name),
        lambda: service.state(name),
        lambda: service.history(name),
        lambda: service.presence(name),
    ]
    for call in calls:
        with pytest.raises(ChannelNameError):
            await call()


async def test_a_message_to_all_reaches_the_channels_that_match(service, subscriber):
    ones = [subscriber(str(n)) for n in range(3)]
    for one, channel in zip(ones, ["room.1", "room.2", "hall.1"], strict=True):
        await service.join(one, channel)

    sent = await service.publish_all("room.*", Message(b"hello"), source=Source.API)

    assert sent == Broadcast(channels=2, subscribers=2)
    assert [one.heard for one in ones] == [[b"hello"], [b"hello"], []]


async def test_a_message_to_very_many_channels_lets_others_have_their_turns(service):
    """The broker of one process never gives up the loop by itself."""
    for number in range(1000):
        await service.publish(f"kept.{number}", Message(b"x"), source=Source.API)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(others())
    sent = await service.publish_all("kept.*", Message(b"y"), source=Source.API)
    task.cancel()

    assert sent.channels == 1000
    assert turns >= 9


async def test_a_repeated_key_is_not_counted_as_a_publication(service, subscriber):
    one = subscriber()
    await service.join(one, "kept.1")
    for _ in range(3):
        await service.publish("kept.1", Message(b"x", key="k"), source=Source.API)

    assert one.heard == [b"x"]
    assert service.publications[Source.API] == 1


async def test_a_publication_for_this_worker_alone_is_not_kept(service, subscriber):
    one = subscriber()
    await service.join(one, "kept.1")

    count = service.publish_here("kept.1", Message(b"\xff"), source=Source.REDIS)

    assert count == 1
    assert one.heard == [b"\xff"]
    assert (await service.history("kept.1")).publications == ()


async def test_a_subscriber_that_fails_costs_the_others_nothing(service, subscriber):
    def fail() -> None:
        raise RuntimeError

    broken, other = subscriber("broken"), subscriber("other")
    broken.at_delivery = fail
    for each in (broken, other):
        await service.join(each, "room")

    await publish(service, "room", "one", "two")

    assert other.heard == [b"one", b"two"]


async def test_who_leaves_while_others_are_served_hears_nothing_more(service, subscriber):
    first, second, third = (subscriber(str(n)) for n in range(3))
    for each in (first, second, third):
        await service.join(each, "room")

    def take_out_second() -> None:
        with pytest.raises(StopIteration):
            service.leave_all(second).send(None)

    first.at_delivery = take_out_second
    await publish(service, "room", "one")

    assert first.heard == third.heard == [b"one"]
    assert second.heard == []


# Joining and leaving


async def test_joining_twice_is_harmless(service, subscriber):
    one = subscriber()
    await service.join(one, "kept.1")
    await publish(service, "kept.1", "a")

    again = await service.join(one, "kept.1")

    await publish(service, "kept.1", "b")
    assert one.heard == [b"a", b"b"]
    assert again.position.offset == 1
    assert again.publications == ()
    assert service.subscriptions == 1


async def test_a_member_that_asks_for_more_gets_what_came_before_its_first_join(
    service, subscriber
):
    """A route joined it at the handshake; then the client says how far it had read."""
    before = (await service.join(subscriber("before"), "kept.1")).position
    await publish(service, "kept.1", "a", "b")
    one = subscriber()
    await service.join(one, "kept.1")
    await publish(service, "kept.1", "c")

    joined = await service.join(one, "kept.1", since=before)

    assert [each.message.data for each in joined.publications] == [b"a", b"b"]
    assert one.heard == [b"c"]
    assert joined.position.offset == 3


async def test_resume_gives_what_was_missed_or_says_that_it_cannot(service, subscriber):
    position = (await service.join(subscriber("a"), "kept.1")).position
    await publish(service, "kept.1", "a", "b", "c")
    whole = await service.join(subscriber("b"), "kept.1", since=position)
    await publish(service, "kept.1", "d")
    lost = await service.join(subscriber("c"), "kept.1", since=position)
    foreign = await service.join(subscriber("d"), "kept.1", since=Position(4, "other"))

    assert [each.message.data for each in whole.publications] == [b"a", b"b", b"c"]
    assert whole.recovered
    for joined in (lost, foreign):
        assert not joined.recovered
        assert joined.publications == ()
        assert joined.position.offset == 4


async def test_a_channel_without_history_cannot_be_resumed(service, subscriber):
    joined = await service.join(subscriber(), "room", since=Position(1, "e"))

    assert not joined.recovered
    assert joined.position == NOWHERE


async def test_refusals_leave_nothing_behind(service, subscriber):
    for n in range(2):
        await service.join(subscriber(str(n)), "two.1")

    with pytest.raises(ChannelFullError):
        await service.join(subscriber("third"), "two.1")
    with pytest.raises(ChannelNotFoundError):
        await service.join(subscriber("third"), "shut.1")

    assert service.subscriptions == 2
    assert service.channels == 1


async def test_leaving_everything_leaves_nothing(service, subscriber):
    one = subscriber()
    for channel in ("a", "b", "c"):
        await service.join(one, channel)
    assert service.joined(one) == ("a", "b", "c")

    assert await service.leave(one, "b") is True
    assert await service.leave(one, "b") is False
    assert service.joined(one) == ("a", "c")
    await service.leave_all(one)
    await service.leave_all(one)

    assert service.joined(one) == ()
    assert service.subscriptions == service.channels == 0
    await publish(service, "a", "x")
    assert one.heard == []


# Asking PHP


async def test_php_is_asked_at_every_join(service, subscriber, gate):
    gate.opened.set()

    await service.join(subscriber("one"), "room")
    await service.join(subscriber("one"), "room", authorize=False)

    assert gate.asked == [("one", "room", "/authorize.php")]


async def test_a_refusal_by_php_lets_nobody_in(service, subscriber, gate):
    gate.opened.set()
    gate.refuse = True

    with pytest.raises(ChannelForbiddenError):
        await service.join(subscriber(), "room")

    assert service.subscriptions == service.channels == 0
    assert not await service.exists("room")


async def test_without_anybody_to_ask_nobody_is_let_in(service, subscriber, gate):
    service._joining.authorizer = None

    with pytest.raises(ChannelForbiddenError):
        await service.join(subscriber(), "room")


async def test_who_leaves_while_php_is_asked_is_not_let_in(service, subscriber, gate):
    one = subscriber()
    joining = asyncio.create_task(service.join(one, "room"))
    await asyncio.sleep(0)

    await service.leave_all(one)
    gate.opened.set()

    with pytest.raises(SubscriberGoneError):
        await joining
    assert not await service.exists("room")
    assert service.channels == 0


async def test_a_cancelled_join_leaves_nothing(service, subscriber, gate):
    joining = asyncio.create_task(service.join(subscriber(), "room"))
    await asyncio.sleep(0)

    joining.cancel()

    with pytest.raises(asyncio.CancelledError):
        await joining
    assert service.channels == 0


# Feeds


class Wire:
    """A feed that notes what is wanted of it."""

    def __init__(self) -> None:
        self.wanted: list[str] = []

    async def want(self, channel: str) -> None:
        if channel not in self.wanted:
            self.wanted.append(channel)

    def unwant(self, channel: str) -> None:
        self.wanted.remove(channel)


async def test_a_feed_is_wanted_from_the_first_subscriber_to_the_last(service, subscriber):
    wire = Wire()
    service.add_feed(wire)
    first, second = subscriber("first"), subscriber("second")

    await service.join(first, "room")
    await service.join(second, "room")
    await service.leave_all(first)
    assert wire.wanted == ["room"]
    await service.leave_all(second)
    assert wire.wanted == []

    with pytest.raises(ChannelNotFoundError):
        await service.join(first, "shut.1")
    assert wire.wanted == []


# What members are told


async def test_members_see_each_other_come_and_go(service, subscriber):
    ada, bob = subscriber("ada", "Ada"), subscriber("bob", "Bob")
    await service.join(ada, "seen.1")
    await service.join(bob, "seen.1")
    await service.join(bob, "seen.1")
    assert await service.presence("seen.1") == (Member("ada", "Ada"), Member("bob", "Bob"))

    await service.leave_all(bob)

    assert ada.told == ["bob joined seen.1", "bob left seen.1"]
    assert bob.told == []


async def test_presence_that_is_off_shows_nobody(service, subscriber):
    await service.join(subscriber(), "room")

    assert await service.presence("room") == ()


async def test_closing_takes_the_members_out_and_tells_them(service, subscriber):
    await service.open("shut.1")
    one = subscriber()
    await service.join(one, "shut.1")

    assert await service.close("shut.1") is True

    assert one.told == ["shut.1 closed"]
    assert service.subscriptions == service.channels == 0
    with pytest.raises(ChannelNotFoundError):
        await publish(service, "shut.1", "x")


async def test_each_outage_is_told_also_when_nothing_was_published_in_between(service, subscriber):
    """Who asked elsewhere for what the first one cost knows nothing of the second."""
    one, kept = subscriber("one"), subscriber("kept")
    await service.join(one, "room")
    await service.join(kept, "kept.1")

    service.on_gap(None)
    service.on_gap("room")
    await publish(service, "room", "x")
    await publish(service, "kept.1", "x")
    service.on_gap("room")
    service.on_gap("nobody")

    assert one.told == ["gap in room"] * 3
    assert kept.told == ["gap in kept.1"]
    assert kept.heard == [b"x"]


# Witnesses


class Diary:
    """A witness that notes what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def came(self, subscriber, channel) -> None:
        self.notes.append(f"{subscriber.id} came into {channel}")

    def went(self, subscriber, channel) -> None:
        self.notes.append(f"{subscriber.id} left {channel}")

    def take(self) -> list[str]:
        notes, self.notes = sorted(self.notes), []
        return notes


@pytest.fixture
def diary(service: ChannelService) -> Diary:
    diary = Diary()
    rules = ChannelRules(max_subscribers=2)
    service.policies = Policies([ChannelPolicy("seen.*", rules, witness=diary)])
    return diary


async def test_a_witness_hears_of_each_coming_and_going_once(service, subscriber, diary):
    one = subscriber("one")
    await service.join(one, "seen.1")
    await service.join(one, "seen.1")
    await service.join(one, "other")
    assert diary.take() == ["one came into seen.1"]

    assert await service.leave(one, "seen.1")
    assert not await service.leave(one, "seen.1")
    await service.leave_all(one)
    assert diary.take() == ["one left seen.1"]


async def test_two_joins_of_one_subscriber_at_once_are_one_coming(service, subscriber, diary):
    one = subscriber("one")
    await asyncio.gather(service.join(one, "seen.1"), service.join(one, "seen.1"))
    assert diary.take() == ["one came into seen.1"]


async def test_a_witness_hears_of_everybody_who_loses_the_channel(service, subscriber, diary):
    one, two = subscriber("one"), subscriber("two")
    for each in (one, two):
        await service.join(each, "seen.1")
        await service.join(each, "seen.2")
    diary.take()

    await service.leave_all(one)
    await service.close("seen.1")
    await service.leave_all(two)
    assert diary.take() == [
        "one left seen.1",
        "one left seen.2",
        "two left seen.1",
        "two left seen.2",
    ]


async def test_a_witness_hears_nothing_of_those_who_were_never_in(service, subscriber, diary, gate):
    policy = ChannelPolicy("seen.*", ChannelRules(), Authorization("app", "/a.php"), diary)
    service.policies = Policies([policy])
    one, two = subscriber("one"), subscriber("two")
    joins = [asyncio.ensure_future(service.join(each, "seen.1")) for each in (one, two)]
    await asyncio.sleep(0)
    await service.leave_all(one)
    await service.leave(two, "seen.1")
    gate.opened.set()
    ended = await asyncio.gather(*joins, return_exceptions=True)
    assert [type(each) for each in ended] == [SubscriberGoneError, SubscriberGoneError]
    assert diary.take() == []


async def test_a_join_that_finds_no_room_is_no_coming(service, subscriber, diary):
    for name in ("one", "two"):
        await service.join(subscriber(name), "seen.1")
    with pytest.raises(ChannelFullError):
        await service.join(subscriber("three"), "seen.1")
    assert len(diary.take()) == 2


# Questions


async def test_a_question_to_this_worker_is_answered_by_whoever_was_set(service):
    async def answer(question: bytes) -> bytes:
        return question.upper()

    assert await service.ask(service.node, b"who") == b""
    service.answer = answer

    assert await service.ask(service.node, b"who") == b"WHO"
