"""Queries at a subscribe and an unsubscribe: when they are run, with what, and who hears of it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.errors import DatabaseUnavailableError, MessageError, QueryError
from gateway.sessions.admission import RefusedError
from gateway.sessions.attendance import MOST
from gateway.sessions.client import TransportKind
from gateway.sessions.json import SUBPROTOCOL
from tests.fakes import FakeClient, FakeDatabase, House
from tests.readers import come

JSON: dict[str, Any] = {"subprotocols": (SUBPROTOCOL,)}
CAME = ":channel, :connection, :user, :route, :wildcard came"
WENT = ":wildcard, :connection went"
CHANNELS = [
    {
        "match": "order.*.state",
        "on_subscribe": {"postgres": {"dsn": "main", "query": CAME}},
        "on_unsubscribe": {"postgres": {"dsn": "main", "query": WENT}},
    }
]
ORDER = "order.7.state"
Build = Callable[..., Awaitable["Shop"]]


class Shop(House):
    """A house whose orders are watched."""

    @property
    def came(self) -> list[tuple[Any, ...]]:
        """The values of what is under way for those who came."""
        return [values for statement, values in self.fake.asked if statement.endswith("came")]

    @property
    def went(self) -> list[tuple[Any, ...]]:
        return [values for statement, values in self.fake.asked if statement.endswith("went")]

    @property
    def fake(self) -> FakeDatabase:
        assert self.database is not None
        return self.database

    async def answer_all(self, rows: bytes | Exception = b"[]") -> None:
        await self.settle()
        while self.fake.asked:
            await self.fake.answer(rows)


@pytest.fixture
async def shop() -> AsyncIterator[Build]:
    shops: list[Shop] = []

    async def make(*, connections: int = 4, **route: Any) -> Shop:
        options = {"channels": CHANNELS, "client_subscribe": ["*"], **route}
        shop = Shop(database=FakeDatabase(max_connections=connections), **options)
        shops.append(shop)
        await shop.start()
        return shop

    yield make
    for each in shops:
        await each.stop()


async def subscribed(shop: Shop, channel: str = ORDER) -> FakeClient:
    client = await shop.connect(**JSON)
    client.ask(id=1, subscribe=channel)
    await shop.settle()
    assert client.last["subscribed"] == channel
    return client


async def test_all_values_are_bound_and_those_that_are_not_there_are_null(shop: Build) -> None:
    house = await shop()
    client = await subscribed(house)
    assert client.session is not None
    assert house.fake.asked == [
        (
            "$1::text, $2::text, $3::text, $4::text, $5::text came",
            (ORDER, client.session.id, None, "test", "7"),
        )
    ]


async def test_the_rows_go_to_the_one_who_came_and_to_nobody_else(shop: Build) -> None:
    house = await shop()
    other = await subscribed(house)
    await house.answer_all()
    client = await subscribed(house)
    await house.answer_all(b'[{"id":7}]')
    assert client.last == {"channel": ORDER, "data": [{"id": 7}]}
    assert "subscribed" in other.last


async def test_a_raw_client_gets_the_rows_as_one_frame(shop: Build) -> None:
    house = await shop(subscribe=[ORDER])
    client = await house.connect()
    await house.answer_all(b'[{"id":7}]')
    assert client.frames == ['[{"id":7}]']


async def test_rows_that_are_found_before_the_client_is_let_in_wait_for_it(shop: Build) -> None:
    house = await shop(subscribe=[ORDER], events=["connect", "message"])
    arriving = asyncio.ensure_future(house.connect())
    await house.settle()
    await house.answer_all(b"[1]")
    house.pool.answer("")
    client = await arriving
    assert client.frames == ["[1]"]


async def test_an_event_stream_gets_one_event_without_an_id(shop: Build) -> None:
    house = await shop(subscribe=[ORDER], transports=["sse"])
    client = await come(house, TransportKind.SSE)
    await house.answer_all(b"[1]")
    (event,) = client.events
    assert (event.name, event.id, event.data) == ("", "", "[1]")


async def test_without_rows_nothing_is_sent(shop: Build) -> None:
    house = await shop()
    client = await subscribed(house)
    before = list(client.frames)
    await house.answer_all(b"[]")
    assert client.frames == before


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TimeoutError(), 504),
        (DatabaseUnavailableError("away"), 503),
        (QueryError("boom", "P0001"), 502),
        (MessageError("a constraint (23505)"), 400),
    ],
)
async def test_after_a_failure_the_client_is_told_and_is_in_nevertheless(
    shop: Build, error: Exception, code: int
) -> None:
    house = await shop()
    client = await subscribed(house)
    await house.fake.answer(error)
    assert client.last["channel"] == ORDER
    assert client.last["error"]["code"] == code
    await house.publish(ORDER)
    assert client.last["data"] == "news"


async def test_raw_clients_and_event_streams_are_told_of_a_failure_in_their_own_way(
    shop: Build,
) -> None:
    house = await shop(subscribe=[ORDER], transports=["websocket", "sse"])
    raw = await house.connect()
    await house.answer_all(TimeoutError())
    assert raw.last["error"]["type"] == "upstream_timeout"
    stream = await come(house, TransportKind.SSE)
    await house.answer_all(TimeoutError())
    (event,) = stream.events
    assert event.name == "failure"
    assert json.loads(event.data)["channel"] == ORDER


async def test_the_log_names_the_pattern_and_the_key_but_no_value(shop: Build) -> None:
    house = await shop()
    client = await subscribed(house, "order.secret.state")
    with capture_logs() as logged:
        await house.fake.answer(QueryError("no order secret", "P0001"))
        client.go()
        await house.settle()
        await house.fake.answer(QueryError('relation "gone" does not exist', "42P01"))
    words = {"event": "channel query failed", "log_level": "warning", "match": "order.*.state"}
    refused = "PostgreSQL refuses the query (P0001)"
    gone = 'relation "gone" does not exist (42P01)'
    assert logged == [
        {**words, "key": "on_subscribe", "error": refused},
        {**words, "key": "on_unsubscribe", "error": gone},
    ]


async def test_joining_again_runs_nothing(shop: Build) -> None:
    house = await shop()
    client = await subscribed(house)
    client.ask(id=2, subscribe=ORDER)
    await house.settle()
    assert len(house.came) == 1


async def test_leaving_runs_the_other_query_after_the_first_has_ended(shop: Build) -> None:
    house = await shop()
    client = await subscribed(house)
    assert client.session is not None
    client.ask(id=2, unsubscribe=ORDER)
    await house.settle()
    assert (len(house.came), house.went) == (1, [])
    before = list(client.frames)
    await house.fake.answer(b'[{"id":7}]')
    assert house.went == [("7", client.session.id)]
    assert client.frames == before, "it is not in the channel any more"


@pytest.mark.parametrize("clean", [True, False])
async def test_the_end_of_a_connection_is_a_leave_from_each_of_its_channels(
    shop: Build, *, clean: bool
) -> None:
    house = await shop(subscribe=["order.1.state", "order.2.state", "other"])
    client = await house.connect()
    await house.answer_all()
    client.go(1000 if clean else 1006, clean=clean)
    await house.settle()
    assert sorted(wildcard for wildcard, _ in house.went) == ["1", "2"]


async def test_what_php_makes_of_a_reply_is_a_coming_and_a_going_too(shop: Build) -> None:
    house = await shop()
    client = await house.connect()
    for header in ("WS-Subscribe", "WS-Unsubscribe"):
        client.say("{}")
        house.pool.answer("", headers={header: ORDER})
        await house.settle()
    assert len(house.came) == 1
    await house.fake.answer(b"[1]")
    assert len(house.went) == 1


async def test_the_end_of_a_channel_is_a_leave_once(shop: Build) -> None:
    house = await shop()
    client = await subscribed(house)
    await house.answer_all()
    await house.channels.close(ORDER)
    client.go(4410)
    await house.settle()
    assert len(house.went) == 1


async def test_who_is_refused_after_joining_has_come_and_gone(shop: Build) -> None:
    house = await shop(subscribe=[ORDER], events=["connect", "message"])
    arriving = asyncio.ensure_future(house.connect())
    await house.settle()
    house.pool.answer("", 403)
    with pytest.raises(RefusedError):
        await arriving
    assert len(house.came) == 1
    await house.fake.answer()
    assert len(house.went) == 1


async def test_a_join_that_is_refused_runs_nothing(shop: Build) -> None:
    channels = [{**CHANNELS[0], "create": "explicit"}]
    house = await shop(channels=channels)
    client = await house.connect(**JSON)
    client.ask(id=1, subscribe=ORDER)
    await house.settle()
    client.go()
    await house.settle()
    assert house.fake.asked == []


async def test_a_long_poll_runs_neither_query(shop: Build) -> None:
    house = await shop(subscribe=[ORDER], transports=["longpoll"])
    client = await come(house, TransportKind.LONGPOLL)
    client.go()
    await house.settle()
    assert house.fake.asked == []


async def test_a_reload_takes_new_statements_also_for_those_who_are_in(shop: Build) -> None:
    house = await shop()
    client = await subscribed(house)
    await house.answer_all()
    query = {"postgres": {"dsn": "main", "query": ":channel left"}}
    house.document["channels"] = [{"match": "order.*", "on_unsubscribe": query}]
    house.runtime = house.read()
    house.channels.policies = house.runtime.policies
    client.go()
    await house.settle()
    assert house.fake.asked == [("$1::text left", (ORDER,))]


async def test_a_client_that_comes_and_goes_all_the_time_is_not_read_meanwhile(
    shop: Build,
) -> None:
    house = await shop(connections=1)
    client = await house.connect(**JSON)
    for _ in range(MOST):
        client.ask(subscribe=ORDER)
        client.ask(unsubscribe=ORDER)
        await house.settle()
    assert client.paused
    assert len(house.runtime.errands) == MOST
    await house.answer_all()
    assert not client.paused
    assert house.fake.asked == []
