"""What a reply asks for beside its frame, also when it cannot be done."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.channels.broker import Outcome, Receipt
from gateway.channels.publication import NOWHERE
from gateway.errors import BrokerUnavailableError, ReplyError
from tests.fakes import FakeClient, House, params_of

Build = Callable[..., Awaitable[House]]


async def reply(house: House, client: FakeClient, *effects: object) -> None:
    """Have PHP answer with effects, and let them be done."""
    client.say("x")
    house.pool.answer(json.dumps(effects), content_type="application/vnd.wsgate+json")
    await house.settle()


class TestMeta:
    @pytest.mark.parametrize("name", ["", "a b", "é", "a.b", "-", "a\n"])
    async def test_a_name_that_server_could_not_hold_is_refused(
        self, build: Build, name: str
    ) -> None:
        house = await build()
        client = await house.connect()
        with capture_logs() as logs:
            await reply(house, client, {"meta": {name: "x"}}, {"send": "after"})

        assert logs[0]["event"] == "effect failed"
        assert client.told[0]["error"]["type"] == "upstream_error"
        assert client.told[1] == "after", "the rest is still done"

    async def test_names_are_one_whatever_their_case(self, build: Build) -> None:
        house = await build()
        client = await house.connect()
        await reply(house, client, {"meta": {"cart-id": 1}}, {"meta": {"Cart_ID": 2}})
        client.say("x")

        assert house.pool.server["WS_META_CART_ID"] == "2"

    async def test_it_is_bounded_and_keeps_what_it_had(self, build: Build) -> None:
        house = await build()
        client = await house.connect()
        assert client.session is not None
        identity = client.session.identity
        identity.set_meta("a", "1")

        with pytest.raises(ReplyError, match="limit 8192"):
            identity.set_meta("b", "x" * 9000)
        with pytest.raises(ReplyError, match="NUL"):
            identity.set_meta("b", "\0")
        assert identity.meta == {"A": "1"}

    async def test_the_user_is_bounded(self, build: Build) -> None:
        house = await build()
        client = await house.connect()
        client.say("x")
        with capture_logs():
            house.pool.answer("", headers={"WS-User": "x" * 2000})

        assert client.last["error"]["code"] == 502
        assert client.session is not None
        assert client.session.user == ""


async def test_a_join_that_is_refused_is_an_error_frame(build: Build) -> None:
    house = await build(channels=[{"match": "shut", "create": "explicit"}])
    client = await house.connect()
    with capture_logs() as logs:
        await reply(house, client, {"subscribe": ["shut", "open"]})

    assert client.last["error"] == {
        "code": 404,
        "type": "not_found",
        "message": "there is nothing here",
        "message_id": 1,
    }
    assert client.session is not None
    assert house.channels.joined(client.session) == ("open",)
    assert logs[0]["effect"] == "Subscribe"


def away_at_once(*_: object, **__: object) -> None:
    raise BrokerUnavailableError("away")


def away_later(*_: object, done: Callable[[Outcome], None], **__: object) -> None:
    asyncio.get_running_loop().call_soon(done, BrokerUnavailableError("away"))


@pytest.mark.parametrize("post", [away_at_once, away_later])
async def test_channels_that_are_away_are_told_by_name_and_the_rest_is_done(
    build: Build, monkeypatch: pytest.MonkeyPatch, post: Callable[..., None]
) -> None:
    house = await build()
    client = await house.connect()

    monkeypatch.setattr(house.channels, "post", post)
    with capture_logs():
        await reply(house, client, {"publish": {"channel": "a", "data": 1}}, {"send": "after"})
    assert client.told[0]["error"]["code"] == 503
    assert client.told[1] == "after"
    assert client.session is not None
    assert not client.session.busy


async def test_what_comes_after_a_publication_waits_until_it_has_its_place(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await build()
    client = await house.connect()
    waiting: list[Callable[[Outcome], None]] = []

    def slow(*_: object, done: Callable[[Outcome], None], **__: object) -> None:
        waiting.append(done)

    monkeypatch.setattr(house.channels, "post", slow)
    await reply(
        house,
        client,
        {"publish": {"channel": "a", "data": 1}},
        {"send": "between"},
        {"publish": {"channel": "a", "data": 2}},
        {"send": "after"},
    )
    client.say("2")
    assert client.told == []

    waiting.pop()(Receipt(0, NOWHERE))
    assert client.told == ["between"]
    assert house.pool.bodies == [], "the next message waits for the effects"

    waiting.pop()(Receipt(0, NOWHERE))
    assert client.told == ["between", "after"]
    assert house.pool.bodies == [b"2"]


@pytest.mark.parametrize(
    ("name", "effect"),
    [
        ("post", {"publish": {"channel": "a", "data": 1}}),
        ("join", {"subscribe": "a"}),
        ("leave", {"unsubscribe": "a"}),
    ],
)
async def test_a_mistake_of_ours_in_the_middle_closes_and_stops_nothing(
    build: Build, monkeypatch: pytest.MonkeyPatch, name: str, effect: object
) -> None:
    house = await build()
    client = await house.connect()

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(house.channels, name, broken)
    with capture_logs() as logs:
        await reply(house, client, effect)
    assert client.closed == (1011, "internal error")
    assert logs[0]["event"] == "session failed"
    assert client.session is not None
    assert not client.session.busy


async def test_the_next_message_waits_for_the_effects(build: Build) -> None:
    house = await build()
    client = await house.connect()
    client.say("1", "2")
    house.pool.answer("", headers={"WS-Subscribe": "a"})
    assert house.pool.requests == []
    await house.settle()
    assert house.pool.bodies == [b"2"]


async def test_details_are_shown_where_the_log_level_is_debug(build: Build) -> None:
    house = await build()
    house.services.show_details = True
    client = await house.connect()
    client.say("x")
    with capture_logs():
        house.pool.answer("", headers={"WS-Close": "soon"})
    assert "WS-Close" in client.last["error"]["detail"]


class TestPermission:
    async def test_php_hears_of_a_clients_wish_and_decides(self, build: Build) -> None:
        house = await build(
            events=["message", "subscribe", "publish"],
            client_subscribe=["room.*"],
            client_publish=["room.*"],
        )
        client = await house.connect(subprotocols=("wsgate.v1.json",))
        client.frames.clear()

        async def decide(status: int, **command: Any) -> tuple[dict[str, str], Any]:
            client.ask(id=1, **command)
            await house.settle()
            server, body = house.pool.server, house.pool.bodies[0]
            house.pool.answer("", status)
            await house.settle()
            return {**server, "body": body.decode()}, client.last

        server, answer = await decide(403, subscribe="room.1")
        assert (server["WS_EVENT"], server["WS_CHANNEL"]) == ("subscribe", "room.1")
        assert answer["error"]["code"] == 403
        _, answer = await decide(204, subscribe="room.1")
        assert answer["subscribed"] == "room.1"
        server, answer = await decide(500, publish="room.1", data={"a": 1})
        assert (server["WS_EVENT"], server["WS_CHANNEL"]) == ("publish", "room.1")
        assert json.loads(server["body"]) == {"a": 1}
        assert answer["error"]["code"] == 403

    async def test_a_channel_may_have_a_script_that_authorizes(self, build: Build) -> None:
        rules = {"match": "a", "authorize": {"upstream": "app", "script": "/may.php"}}
        house = await build(client_subscribe=["a"], channels=[rules])
        client = await house.connect(subprotocols=("wsgate.v1.json",))

        for status, field in ((403, "error"), (200, "subscribed")):
            client.ask(id=1, subscribe="a")
            await house.settle()
            assert params_of(house.pool.requests[0])["SCRIPT_NAME"] == "/may.php"
            assert house.pool.server["WS_CHANNEL"] == "a"
            house.pool.answer("", status)
            await house.settle()
            assert field in client.last

    async def test_no_answer_is_no_permission(self, build: Build) -> None:
        house = await build(events=["message", "subscribe"], client_subscribe=["a"])
        client = await house.connect(subprotocols=("wsgate.v1.json",))
        client.ask(id=1, subscribe="a")
        await house.settle()
        with capture_logs():
            house.pool.fail()
        await house.settle()
        assert client.last["error"]["code"] == 403


class TestEarly:
    async def test_a_client_that_is_let_in_too_late_is_a_slow_consumer(self, build: Build) -> None:
        house = await build()
        arrival = house.begin()
        for number in range(3000):
            arrival.session.send(str(number).encode(), text=True)
        client = house.enter(arrival)

        assert len(client.frames) == 1024
        assert client.closed == (1013, "slow consumer")

    async def test_what_is_said_to_it_before_it_is_in_comes_in_order(self, build: Build) -> None:
        house = await build()
        arrival = house.begin()
        arrival.session.send(b"1", text=True)
        arrival.session.send(b"2", text=True)
        arrival.session.close(4000, "bye")
        arrival.session.send(b"3", text=True)
        client = house.enter(arrival)

        assert client.frames == ["1", "2"]
        assert client.closed == (4000, "bye")

    async def test_a_state_that_cannot_follow_is_a_mistake(self, build: Build) -> None:
        house = await build()
        client = await house.connect()
        assert client.session is not None
        with pytest.raises(RuntimeError, match="from OPEN to OPEN"):
            client.session.attach(client)


class TestRetiring:
    async def test_who_waits_for_nothing_is_closed_at_once(self, build: Build) -> None:
        house = await build()
        client = await house.connect()
        assert client.session is not None
        client.session.retire(1012, "restart")
        assert client.closed == (1012, "restart")

    async def test_who_waits_is_answered_first_and_not_read_on(self, build: Build) -> None:
        house = await build()
        client = await house.connect()
        assert client.session is not None
        client.say("1", "2")
        client.session.retire(1012, "restart")
        client.session.retire(1012, "restart")
        assert client.paused
        client.say("3")
        house.pool.answer('"1"')
        assert client.closed is None
        house.pool.answer('"2"')

        assert client.frames == ['"1"', '"2"']
        assert client.closed == (1012, "restart")
        assert house.pool.requests == []
