"""Who is let in, what PHP's `connect` decides, and in which order things happen."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from fastcgi.errors import RequestTimeoutError, UpstreamDiedError, UpstreamUnavailableError
from gateway.channels.broker import Member
from gateway.sessions.admission import RefusedError, complete
from tests.fakes import FakeClient, House, params_of

Build = Callable[..., Awaitable[House]]

ALL = ["connect", "message", "disconnect"]
JSON = ("wsgate.v1.json",)


async def connecting(house: House, *where: str, **more: Any) -> "asyncio.Task[FakeClient]":
    """A client that waits for PHP's word."""
    task = asyncio.create_task(house.connect(*where, **more))
    await house.settle()
    return task


async def refused(task: "asyncio.Task[FakeClient]") -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        await task
    return caught.value


async def test_without_connect_and_channels_nobody_is_asked(build: Build) -> None:
    house = await build()

    assert not house.begin().waits


class TestConnect:
    async def test_php_is_asked_with_an_empty_object(self, build: Build) -> None:
        house = await build(events=ALL)
        task = await connecting(house)

        assert house.pool.bodies == [b"{}"]
        server = house.pool.server
        assert server["WS_EVENT"] == "connect"
        assert server["CONTENT_TYPE"] == "application/json"
        assert "WS_MESSAGE_ID" not in server
        house.pool.answer("")
        client = await task

        assert client.frames == []
        assert len(house.services.directory) == 1

    async def test_the_body_is_the_first_frame(self, build: Build) -> None:
        house = await build(events=ALL)
        task = await connecting(house)
        house.pool.answer('{"hello":1}')

        assert (await task).frames == ['{"hello":1}']

    @pytest.mark.parametrize("status", [301, 302, 401, 403, 404, 418, 500, 503])
    async def test_a_refusal_has_the_status_headers_and_body_of_php(
        self, build: Build, status: int
    ) -> None:
        house = await build(events=ALL)
        task = await connecting(house)
        headers = {"X-Why": "no", "WS-User": "42", "WS-Meta-A": "b", "WS-Close": "4000 x"}
        house.pool.answer("go away", status, headers=headers, content_type="text/plain")

        error = await refused(task)
        assert error.status == status
        assert dict(error.headers) == {"content-type": "text/plain", "x-why": "no"}
        assert error.body == b"go away"
        await house.settle()
        assert house.pool.requests == [], "who was not let in has no end to hear of"

    @pytest.mark.parametrize(
        ("failure", "status", "kind"),
        [
            (RequestTimeoutError(1), 504, "upstream_timeout"),
            (UpstreamUnavailableError("unix:/secret", "x"), 503, "upstream_unavailable"),
            (UpstreamDiedError(0), 502, "upstream_error"),
        ],
    )
    async def test_no_answer_refuses_by_name(
        self, build: Build, failure: Any, status: int, kind: str
    ) -> None:
        house = await build(events=ALL)
        task = await connecting(house)
        house.pool.fail(failure)

        error = await refused(task)
        assert error.status == status
        assert json.loads(error.body)["error"]["type"] == kind
        assert b"secret" not in error.body
        assert (("Retry-After", "1") in error.headers) is (status == 503)

    async def test_user_meta_and_cookies_are_sent_from_then_on(self, build: Build) -> None:
        house = await build(events=ALL)
        task = await connecting(house, headers=(("cookie", "a=1"),))
        house.pool.answer(
            "",
            headers=(
                ("ws-user", "42"),
                ("ws-meta-room", "blue"),
                ("set-cookie", "PHPSESSID=abc; path=/; HttpOnly"),
            ),
        )
        client = await task
        client.say("x")

        server = house.pool.server
        assert server["WS_USER"] == "42"
        assert server["WS_META_ROOM"] == "blue"
        assert server["HTTP_COOKIE"] == "a=1; PHPSESSID=abc"

    async def test_the_cookies_go_out_with_the_101(self, build: Build) -> None:
        house = await build(events=ALL)
        arrival = house.begin()
        task = asyncio.create_task(complete(arrival))
        await house.settle()
        house.pool.answer("", headers=(("set-cookie", "a=1"), ("set-cookie", "b=2; Secure")))
        await task

        assert arrival.set_cookies == ("a=1", "b=2; Secure")

    async def test_a_close_comes_after_the_frame(self, build: Build) -> None:
        house = await build(events=ALL)
        task = await connecting(house)
        house.pool.answer('"bye"', headers={"WS-Close": "4001 full"})
        client = await task

        assert client.frames == ['"bye"']
        assert client.closed == (4001, "full")

    async def test_a_broken_reply_refuses_and_is_logged(self, build: Build) -> None:
        house = await build(events=ALL)
        task = await connecting(house)
        with capture_logs() as logs:
            house.pool.answer("", headers={"WS-Close": "4001, full"})
            error = await refused(task)

        assert error.status == 502
        assert logs[0]["event"] == "reply cannot be carried out"
        assert "WS-Close" in logs[0]["error"]

    async def test_a_client_that_left_meanwhile_has_its_end_told(self, build: Build) -> None:
        house = await build(events=ALL, subscribe=["room"])
        arrival = house.begin()
        task = asyncio.create_task(complete(arrival))
        await house.settle()
        house.pool.answer("")
        await task
        await arrival.session.lost()
        await house.settle()

        assert house.pool.events == ["disconnect"]
        assert json.loads(house.pool.bodies[0]) == {"code": 1006, "reason": "", "clean": False}
        assert house.channels.subscriptions == 0

    async def test_whom_php_accepted_and_we_refuse_has_its_end_told(self, build: Build) -> None:
        house = await build(events=ALL, channels=[{"match": "full", "max_subscribers": 1}])
        other = await connecting(house)
        house.pool.answer("", headers={"WS-Subscribe": "full"})
        await other
        task = await connecting(house)
        house.pool.answer("", headers={"WS-Subscribe": "full"})

        assert (await refused(task)).status == 409
        await house.settle()
        assert house.pool.events == ["disconnect"]


class TestSubprotocols:
    async def test_json_is_spoken_where_it_is_offered(self, build: Build) -> None:
        house = await build()
        client = await house.connect(subprotocols=("x", *JSON))

        assert client.last["connected"]["user"] == ""
        client.ask(id=1, send="x")
        assert house.pool.server["WS_SUBPROTOCOL"] == "wsgate.v1.json"

    async def test_php_chooses_among_the_offers_and_is_told_its_choice(self, build: Build) -> None:
        house = await build(events=ALL)
        arrival = house.begin(subprotocols=("v1", "v2"))
        task = asyncio.create_task(complete(arrival))
        await house.settle()
        assert house.pool.server["WS_SUBPROTOCOL"] == ""
        house.pool.answer("", headers={"Sec-WebSocket-Protocol": "v2"})
        await task
        client = house.enter(arrival)
        client.say("x")

        assert arrival.subprotocol == "v2"
        assert house.pool.server["WS_SUBPROTOCOL"] == "v2"

    async def test_php_may_choose_another_one_than_json(self, build: Build) -> None:
        house = await build(events=ALL, subscribe=["room"], client_publish=["room"])
        task = await connecting(house, subprotocols=("v1", *JSON))
        house.pool.answer('"raw"', headers={"Sec-WebSocket-Protocol": "v1"})
        client = await task

        assert client.frames == ['"raw"']
        client.say("hello")
        await house.settle()
        assert client.frames == ['"raw"', "hello"], "it is published, as raw frames are here"

    async def test_a_choice_that_was_not_offered_refuses(self, build: Build) -> None:
        house = await build(events=ALL)
        task = await connecting(house, subprotocols=("v1",))
        house.pool.answer("", headers={"Sec-WebSocket-Protocol": "v2"})

        assert (await refused(task)).status == 502


class TestJoining:
    async def test_templates_make_channels_of_the_handshake(self, build: Build) -> None:
        house = await build(
            path="/ws/{room}",
            subscribe=[
                "room.{room}",
                "{query.id}",
                "h.{header.x-shop}",
                "{query.none}",
                "u.{user}",
            ],
        )
        client = await house.connect("/ws/blue", "id=a%C3%BCb", headers=(("x-shop", "7"),))
        assert client.session is not None

        assert house.channels.joined(client.session) == ("room.blue", "aüb", "h.7")

    async def test_a_name_that_no_channel_may_have_refuses_with_400(self, build: Build) -> None:
        house = await build(subscribe=["{query.id}"])

        with pytest.raises(RefusedError) as caught:
            await house.connect("/ws", "id=*")
        assert caught.value.status == 400
        assert house.channels.channels == 0

    async def test_an_absent_variable_joins_nothing(self, build: Build) -> None:
        house = await build(subscribe=["{query.id}", "u.{user}", "all"])
        client = await house.connect()
        assert client.session is not None

        assert house.channels.joined(client.session) == ("all",)

    @pytest.mark.parametrize(
        ("rules", "status"),
        [({"create": "explicit"}, 403), ({"max_subscribers": 1}, 409)],
    )
    async def test_a_refused_join_refuses_the_handshake(
        self, build: Build, rules: dict[str, Any], status: int
    ) -> None:
        house = await build(subscribe=["room"], channels=[{"match": "room", **rules}])
        if status == 409:
            await house.connect()

        with pytest.raises(RefusedError) as caught:
            await house.connect()
        assert caught.value.status == status

    async def test_what_is_published_meanwhile_comes_after_the_greeting(self, build: Build) -> None:
        house = await build(events=ALL, subscribe=["room"], announce_url=True)
        task = await connecting(house)
        await house.publish("room", '"1"')
        await house.publish("room", '"2"')
        house.pool.answer('"hello"')
        client = await task

        assert "url" in client.told[0]
        assert client.frames[1:] == ['"1"', '"2"', '"hello"']

    async def test_a_refused_client_leaves_its_channels(self, build: Build) -> None:
        house = await build(events=ALL, subscribe=["room"])
        task = await connecting(house)
        assert house.channels.subscriptions == 1
        house.pool.answer("", 403)
        await refused(task)

        assert house.channels.subscriptions == 0

    async def test_a_channel_of_the_user_is_joined_when_php_has_said_who_it_is(
        self, build: Build
    ) -> None:
        house = await build(events=ALL, subscribe=["all", "user.{user}"])
        task = await connecting(house)
        house.pool.answer("", headers={"WS-User": "42"})
        client = await task
        assert client.session is not None

        assert house.channels.joined(client.session) == ("all", "user.42")

    async def test_presence_shows_the_user_that_the_same_reply_sets(self, build: Build) -> None:
        house = await build(events=ALL, channels=[{"match": "*", "presence": True}])
        task = await connecting(house)
        house.pool.answer("", headers={"WS-Subscribe": "room", "WS-User": "ann"})
        client = await task
        assert client.session is not None

        assert await house.channels.presence("room") == (Member(client.session.id, "ann"),)

    async def test_effects_are_done_in_their_order(self, build: Build) -> None:
        """Whoever joins before it publishes hears itself, whoever joins after it does not."""
        house = await build(events=ALL)
        task = await connecting(house)
        effects = [
            {"publish": {"channel": "a", "data": "missed"}},
            {"subscribe": ["a"]},
            {"publish": {"channel": "a", "data": "heard"}},
            {"send": "sent"},
            {"unsubscribe": "a"},
            {"publish": {"channel": "a", "data": "missed"}},
        ]
        house.pool.answer(json.dumps(effects), content_type="application/vnd.wsgate+json")
        client = await task

        assert client.frames == ['"heard"', '"sent"']


class TestIdentity:
    async def test_ids_are_unguessable_and_url_safe(self, build: Build) -> None:
        house = await build()
        ids = {house.begin().session.id for _ in range(1000)}

        assert len(ids) == 1000
        for connection in ids:
            assert connection.startswith(house.channels.node)
            random = connection.removeprefix(house.channels.node)
            assert len(random) * 6 >= 128
            assert random.replace("-", "").replace("_", "").isalnum()

    async def test_a_header_that_must_not_reach_php_refuses_with_400(self, build: Build) -> None:
        house = await build()

        with pytest.raises(RefusedError) as caught:
            house.begin(headers=(("x", "a\rb"),))
        assert caught.value.status == 400

    async def test_a_header_that_fits_no_record_refuses_with_413(self, build: Build) -> None:
        house = await build()

        with pytest.raises(RefusedError) as caught:
            house.begin(headers=(("x", "a" * 70_000),))
        assert caught.value.status == 413


async def test_serialize_by_lets_one_request_of_a_session_go_at_a_time(build: Build) -> None:
    rules = {"select": "r", "rules": {"a": {"script": "/a.php"}, "b": {"script": "/b.php"}}}
    house = await build(serialize_by="cookie:PHPSESSID", messages=rules)
    one, two, other, none = [
        await house.connect(headers=headers)
        for headers in (
            (("cookie", "x=1; PHPSESSID=s1"),),
            (("cookie", "PHPSESSID=s1"),),
            (("cookie", "PHPSESSID=s2"),),
            (),
        )
    ]
    one.say('{"r":"a","n":1}')
    two.say('{"r":"b","n":2}')
    other.say('{"r":"a","n":3}')
    none.say('{"r":"a","n":4}')

    assert [json.loads(body)["n"] for body in house.pool.bodies] == [1, 3, 4]
    house.pool.answer('"1"')
    assert [json.loads(body)["n"] for body in house.pool.bodies] == [3, 4, 2]
    assert params_of(house.pool.requests[-1])["WS_RULE"] == "b"


async def test_who_waits_too_long_in_the_line_of_its_session_is_told(build: Build) -> None:
    house = await build(serialize_by="cookie:s", upstream={"queue_timeout": "5s", "queue_size": 1})
    cookie = (("cookie", "s=1"),)
    one, two, three = [await house.connect(headers=cookie) for _ in range(3)]
    one.say("1")
    two.say("2")
    three.say("3")
    await house.settle()

    assert three.last["error"]["type"] == "queue_full"
    assert two.frames == []
    now = asyncio.get_running_loop().time()
    house.runtime.expire(now + 4.9)
    assert two.frames == []
    house.runtime.expire(now + 5.1)
    assert two.last["error"]["type"] == "queue_full"
    house.pool.answer('"1"')
    two.say("4")
    assert house.pool.bodies == [b"4"]
