"""What event streams and long polls are told, and where they go on when they come back."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.channels.broker import Member
from gateway.channels.publication import Position
from gateway.sessions.admission import RefusedError
from gateway.sessions.client import TransportKind
from gateway.sessions.positions import Resume, encode_id, tag
from tests.fakes import House
from tests.readers import Event, Reader, come

Build = Callable[..., Awaitable[House]]

SSE, POLL = TransportKind.SSE, TransportKind.LONGPOLL
KEPT = {"match": "kept.*", "history": {"size": 3, "ttl": "1h"}}
ROUTE: dict[str, Any] = {"transports": ["websocket", "sse", "longpoll"]}


async def say(house: House, *texts: str, channel: str = "kept.a") -> None:
    for text in texts:
        await house.publish(channel, text, content_type="text/plain")


@pytest.fixture
async def kept(build: Build) -> House:
    """A route into one channel with history."""
    return await build(**ROUTE, subscribe=["kept.a"], channels=[KEPT])


@pytest.fixture
async def mixed(build: Build) -> House:
    """A route into two channels with history and one without."""
    return await build(**ROUTE, subscribe=["kept.a", "kept.b", "plain"], channels=[KEPT])


class TestEventStream:
    async def test_an_event_has_the_data_and_an_id(self, kept: House) -> None:
        client = await come(kept)
        await say(kept, "one")

        (event,) = client.events
        assert (event.data, event.name, event.type) == ("one", "", "text/plain")
        position = Resume(event.id).of("kept.a")
        assert position is not None
        assert position.offset == 1

    async def test_an_event_is_encoded_once_for_all_of_a_channel(self, kept: House) -> None:
        clients = [await come(kept) for _ in range(5)]
        await say(kept, "one")

        assert sum(client.encoded for client in clients) == 1
        assert len({id(client.written[-1]) for client in clients}) == 1

    async def test_binary_data_is_told_as_such(self, kept: House) -> None:
        client = await come(kept)
        await kept.publish("kept.a", "x", content_type="image/png")

        assert client.events[0].name == "binary"

    async def test_who_was_here_gets_what_it_missed_once_and_in_order(self, kept: House) -> None:
        client = await come(kept)
        await say(kept, "one")
        client.go()
        await say(kept, "two", "three")
        client = await come(kept, resume=client.last_id)
        await say(kept, "four")

        assert client.data == ["two", "three", "four"]
        assert client.gaps == []

    async def test_who_heard_nothing_before_it_went_misses_nothing_either(
        self, kept: House
    ) -> None:
        """The id comes first, alone: without it nobody could tell what was missed."""
        await say(kept, "zero")
        client = await come(kept)
        assert client.data == []
        client.go()
        await say(kept, "one")
        client = await come(kept, resume=client.last_id)

        assert client.data == ["one"]

    async def test_who_was_away_too_long_is_told_of_the_gap(self, kept: House) -> None:
        client = await come(kept)
        await say(kept, "one")
        client.go()
        await say(kept, "two", "three", "four", "five")
        old = client.last_id
        client = await come(kept, resume=old)

        assert client.gaps == ["kept.a"]
        assert client.data == []
        await say(kept, "six")
        assert client.data == ["six"]

    async def test_the_id_moves_past_a_gap_only_with_the_gap(self, kept: House) -> None:
        """A connection that breaks before the gap is read must be told of it again."""
        await say(kept, "one", "two", "three", "four", "five")
        stale = encode_id({"kept.a": Position(1, "another")})
        client = await come(kept, resume=stale)

        position, gap = (Event(*json.loads(encoded)) for encoded in client.written)
        assert position.id == stale
        assert gap.name == "gap"
        again = await come(kept, resume=gap.id)
        assert again.events == []

    @pytest.mark.parametrize("garbage", ["x", "-1:abc", "9" * 5000, "\udcff:\udcff", "41:abc", "-"])
    async def test_an_unusable_id_is_a_gap_and_never_a_refusal(
        self, kept: House, garbage: str
    ) -> None:
        await say(kept, "one")
        client = await come(kept, resume=garbage)

        assert (client.gaps, client.data) == (["kept.a"], [])
        await say(kept, "two")
        assert client.data == ["two"]

    async def test_a_long_backlog_does_not_count_as_slow(self, build: Build) -> None:
        long = {"match": "kept.*", "history": {"size": 5000, "ttl": "1h"}}
        house = await build(**ROUTE, subscribe=["kept.a"], channels=[long])
        client = await come(house)
        client.go()
        await say(house, *map(str, range(3000)))
        client = await come(house, resume=client.last_id)

        assert client.data == list(map(str, range(3000)))
        assert client.closed is None

    async def test_a_channel_without_history_has_news_and_gaps(self, build: Build) -> None:
        house = await build(**ROUTE, subscribe=["plain"])
        client = await come(house)
        await say(house, "one", channel="plain")
        assert (client.data, client.last_id) == (["one"], "-")
        client.go()
        client = await come(house, resume="-")

        assert client.gaps == ["plain"]
        await say(house, "two", channel="plain")
        assert client.data == ["two"]

    async def test_presence_is_told_in_events_of_their_own(self, build: Build) -> None:
        house = await build(
            **ROUTE, subscribe=["room"], channels=[{"match": "room", "presence": True}]
        )
        client = await come(house)
        other = await come(house)
        assert other.session is not None
        member = {"id": other.session.id, "user": ""}
        other.go()
        await house.settle()

        assert [(event.name, json.loads(event.data)) for event in client.events] == [
            ("join", {"channel": "room", "join": member}),
            ("leave", {"channel": "room", "leave": member}),
        ]
        assert {event.id for event in client.events} == {""}

    async def test_a_gap_at_the_broker_is_told_once_and_keeps_the_position(
        self, kept: House
    ) -> None:
        client = await come(kept)
        await say(kept, "one")
        before = client.last_id
        kept.channels.on_gap(None)
        kept.channels.on_gap(None)

        assert client.gaps == ["kept.a"]
        assert client.last_id == before

    async def test_a_push_is_an_event_and_leaves_the_position(self, kept: House) -> None:
        client = await come(kept)
        await say(kept, "one")
        before = client.last_id
        assert client.session is not None
        await kept_push(kept, client.session.id)

        assert client.data == ["one", "hello"]
        assert client.last_id == before

    async def test_a_channel_that_is_closed_ends_the_response(self, kept: House) -> None:
        client = await come(kept)
        await kept.channels.close("kept.a")

        assert client.closed == (4410, "channel closed")

    async def test_php_hears_connect_and_disconnect_of_a_stream(self, build: Build) -> None:
        house = await build(
            transports=["sse"], events=["connect", "disconnect"], subscribe=["kept.{user}"]
        )
        task = asyncio.create_task(come(house))
        await house.settle()
        assert house.pool.events == ["connect"]
        house.pool.answer(
            '"welcome"', headers={"WS-User": "7", "Sec-WebSocket-Protocol": "never-offered"}
        )
        client = await task

        assert client.data == ['"welcome"']
        assert house.channels.joined(client.session) == ("kept.7",)  # type: ignore[arg-type]
        client.go(1001)
        await house.settle()
        assert house.pool.events == ["disconnect"]

    async def test_what_php_joins_is_resumed_as_well(self, build: Build) -> None:
        house = await build(transports=["sse"], events=["connect"], channels=[KEPT])

        async def connect(resume: str) -> Reader:
            task = asyncio.create_task(come(house, resume=resume))
            await house.settle()
            house.pool.answer(headers={"WS-Subscribe": "kept.a"})
            return await task

        client = await connect("")
        client.go()
        await say(house, "one")
        assert (await connect(client.last_id)).data == ["one"]

    async def test_a_failure_has_a_name_that_eventsource_leaves_alone(self, build: Build) -> None:
        house = await build(transports=["sse"], events=["connect"])
        task = asyncio.create_task(come(house))
        await house.settle()
        house.pool.answer(headers={"WS-Publish": "a b"})
        client = await task

        assert [event.name for event in client.events] == ["failure"]
        assert json.loads(client.events[0].data)["error"]["code"] == 400

    async def test_the_push_url_is_the_first_event(self, build: Build) -> None:
        house = await build(**ROUTE, announce_url=True)
        client = await come(house)
        assert client.session is not None

        assert json.loads(client.data[0]) == {"url": f"http://push/connections/{client.session.id}"}


async def kept_push(house: House, connection: str) -> None:
    session = house.services.directory.find(connection)
    assert session is not None
    session.push(b"hello", "text/plain")


class TestSeveralChannels:
    async def test_an_id_says_where_its_reader_stands_in_all_of_them(self, mixed: House) -> None:
        client = await come(mixed)
        await say(mixed, "a1", "a2")
        await say(mixed, "b1", channel="kept.b")
        await say(mixed, "p1", channel="plain")
        resume = Resume(client.last_id)

        offsets = {channel: resume.of(channel) for channel in ("kept.a", "kept.b", "plain")}
        assert {name: at and at.offset for name, at in offsets.items()} == {
            "kept.a": 2,
            "kept.b": 1,
            "plain": None,
        }
        assert client.data == ["a1", "a2", "b1", "p1"]

    async def test_each_is_resumed_by_itself(self, mixed: House) -> None:
        client = await come(mixed)
        await say(mixed, "a1")
        client.go()
        await say(mixed, "a2", "a3", "a4", "a5")
        await say(mixed, "b1", channel="kept.b")
        await say(mixed, "p1", channel="plain")
        client = await come(mixed, resume=client.last_id)

        assert client.data == ["b1"]
        assert client.gaps == ["kept.a", "plain"]
        again = await come(mixed, resume=client.last_id)
        assert (again.data, again.gaps) == ([], ["plain"])

    async def test_the_id_of_one_channel_says_nothing_of_another(self, mixed: House) -> None:
        await say(mixed, "b1", channel="kept.b")
        state = await mixed.channels.state("kept.b")
        assert state is not None
        client = await come(mixed, resume=f"0:{state.position.epoch}:{tag('kept.b')}")

        assert client.data == ["b1"]
        assert client.gaps == ["kept.a", "plain"]


class TestLongPoll:
    async def test_a_first_poll_gets_the_oldest_that_is_kept(self, kept: House) -> None:
        await say(kept, "one", "two", "three", "four")
        client = await come(kept, POLL)

        assert client.data == ["two"]

    async def test_polls_walk_the_queue(self, kept: House) -> None:
        await say(kept, "one", "two", "three")
        found, resume = [], ""
        for _ in range(3):
            client = await come(kept, POLL, resume)
            found += client.data
            resume = client.last_id
            client.go()
        assert found == ["one", "two", "three"]
        client = await come(kept, POLL, resume)
        assert client.data == []
        await say(kept, "four", "five")
        assert client.data == ["four"]

    async def test_polls_walk_several_queues_at_once(self, mixed: House) -> None:
        await say(mixed, "a1", "a2")
        await say(mixed, "b1", "b2", channel="kept.b")
        found, resume = [], ""
        for _ in range(4):
            client = await come(mixed, POLL, resume)
            found += client.data
            resume = client.last_id
            client.go()
        assert sorted(found) == ["a1", "a2", "b1", "b2"]
        assert found.index("a1") < found.index("a2")
        assert found.index("b1") < found.index("b2")
        assert (await come(mixed, POLL, resume)).data == []

    async def test_a_date_without_an_etag_asks_for_news(self, kept: House) -> None:
        await say(kept, "one")
        client = await come(kept, POLL, "-")
        assert client.data == []
        await say(kept, "two")
        assert client.data == ["two"]

    @pytest.mark.parametrize("lost", ["x", "1:another", "99999999999999999999:a", "-5:a"])
    async def test_a_poll_that_cannot_go_on_begins_with_the_oldest(
        self, kept: House, lost: str
    ) -> None:
        await say(kept, "one", "two", "three", "four")

        assert (await come(kept, POLL, lost)).data == ["two"]

    @pytest.mark.parametrize("resume", ["", "1:another"])
    async def test_what_is_published_while_the_poll_comes_in_does_not_overtake(
        self, kept: House, resume: str
    ) -> None:
        """A message behind the next one is left for the next poll."""
        await say(kept, "one")
        history = kept.channels.history

        async def slow(*args: Any, **more: Any) -> Any:
            page = await history(*args, **more)
            await say(kept, "two")
            return page

        kept.channels.history = slow  # type: ignore[method-assign]
        client = await come(kept, POLL, resume)
        assert client.data == ["one"]

    async def test_a_channel_that_nobody_knew_is_waited_for(self, kept: House) -> None:
        client = await come(kept, POLL)
        await say(kept, "one")

        assert client.data == ["one"]
        again = await come(kept, POLL, client.last_id)
        await say(kept, "two")
        assert again.data == ["two"]

    async def test_a_channel_without_history_answers_with_news(self, build: Build) -> None:
        house = await build(**ROUTE, subscribe=["plain"])
        client = await come(house, POLL)
        await say(house, "one", channel="plain")

        assert (client.data, client.last_id) == (["one"], "-")
        again = await come(house, POLL, "-")
        assert again.data == []

    async def test_a_push_is_an_answer_that_leaves_the_position(self, kept: House) -> None:
        client = await come(kept, POLL)
        assert client.session is not None
        await kept_push(kept, client.session.id)
        await say(kept, "one")

        assert client.data == ["hello"]
        assert (await come(kept, POLL, client.last_id)).data == ["one"]

    async def test_a_gap_ends_the_poll_without_news(self, kept: House) -> None:
        client = await come(kept, POLL)
        kept.channels.on_gap("kept.a")

        assert client.closed == (1000, "")

    async def test_php_is_asked_by_every_poll_and_hears_of_no_end(self, build: Build) -> None:
        """Its word decides who may come in; that a poll ends does not mean that anybody went."""
        house = await build(
            transports=["longpoll"], events=["connect", "disconnect"], subscribe=["plain"]
        )
        task = asyncio.create_task(come(house, POLL))
        await house.settle()
        house.pool.answer('"a first frame that no poll has asked for"')
        client = await task
        assert client.events == []
        client.go()
        await house.settle()
        assert house.pool.requests == []
        task = asyncio.create_task(come(house, POLL))
        await house.settle()
        house.pool.answer("no", 403)
        with pytest.raises(RefusedError) as refused:
            await task
        assert refused.value.status == 403

    @pytest.mark.parametrize("kind", [SSE, POLL])
    async def test_channels_refuse_with_their_status(self, build: Build, kind: Any) -> None:
        house = await build(
            **ROUTE,
            path="/ws/{name}",
            subscribe=["{name}"],
            channels=[
                {"match": "closed", "create": "explicit"},
                {"match": "full", "max_subscribers": 1},
            ],
        )
        await come(house, kind, path="/ws/full")
        for name, status in (("closed", 403), ("full", 409)):
            with pytest.raises(RefusedError) as refused:
                await come(house, kind, path=f"/ws/{name}")
            assert refused.value.status == status


async def test_a_member_of_a_presence_channel_is_told_by_name(build: Build) -> None:
    house = await build(**ROUTE, subscribe=["room"], channels=[{"match": "room", "presence": True}])
    client = await come(house)
    house.channels.on_join("room", Member("x", "Ada"))

    assert json.loads(client.events[0].data)["join"] == {"id": "x", "user": "Ada"}
