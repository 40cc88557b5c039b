"""Messages on their way to PHP: order, back-pressure, and what replies do."""

import asyncio
import gc
import json
import random
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcgi.errors import (
    PoolClosedError,
    QueueFullError,
    QueueTimeoutError,
    RequestTimeoutError,
    UpstreamDiedError,
    UpstreamUnavailableError,
)
from gateway.sessions.turns import INBOX_MESSAGES
from tests.fakes import House, response

Build = Callable[..., Awaitable[House]]


def error(frame: Any) -> tuple[int, str, int | None]:
    found = frame["error"]
    return found["code"], found["type"], found.get("message_id")


async def test_a_frame_becomes_a_request_and_its_reply_a_frame(build: Build) -> None:
    house = await build()
    client = await house.connect()

    client.say('{"a":1}')
    assert house.pool.bodies == [b'{"a":1}']
    house.pool.answer('{"b":2}')

    assert client.frames == ['{"b":2}']


async def test_one_message_at_a_time_goes_to_php(build: Build) -> None:
    house = await build()
    client = await house.connect()

    client.say("1", "2", "3")
    assert house.pool.bodies == [b"1"]
    for number in (b"1", b"2", b"3"):
        assert house.pool.bodies == [number]
        house.pool.answer(number)

    assert client.frames == ["1", "2", "3"]


async def test_a_binary_reply_is_a_binary_frame(build: Build) -> None:
    house = await build()
    client = await house.connect()

    client.say(b"\x00\xff", text=False)
    assert house.pool.server["WS_MESSAGE_TYPE"] == "binary"
    assert house.pool.server["CONTENT_TYPE"] == "application/octet-stream"
    house.pool.answer(b"\x00\xff", content_type="application/octet-stream; x=y")

    assert client.frames == [b"\x00\xff"]


@pytest.mark.parametrize(("status", "body"), [(204, ""), (200, "")])
async def test_nothing_to_say_is_no_frame(build: Build, status: int, body: str) -> None:
    house = await build()
    client = await house.connect()

    client.say("1", "2")
    house.pool.answer(body, status)

    assert client.frames == []
    assert house.pool.bodies == [b"2"]


async def test_text_that_is_not_utf8_is_an_error_frame(build: Build) -> None:
    """A text frame must be UTF-8, so Latin-1 from a script cannot become one."""
    house = await build()
    client = await house.connect()

    client.say("1")
    house.pool.answer(b"caf\xe9", content_type="text/html")

    assert error(client.last) == (502, "upstream_error", 1)


@pytest.mark.parametrize(
    ("failure", "code", "kind"),
    [
        (RequestTimeoutError(3), 504, "upstream_timeout"),
        (QueueFullError(1, 1), 503, "queue_full"),
        (QueueTimeoutError(1), 503, "queue_full"),
        (UpstreamUnavailableError("unix:/secret", "away"), 503, "upstream_unavailable"),
        (PoolClosedError(), 503, "upstream_unavailable"),
        (UpstreamDiedError(0), 502, "upstream_error"),
    ],
)
@pytest.mark.parametrize("on_error", ["frame", "ignore"])
async def test_a_failure_of_the_way_to_php_is_never_silent(
    build: Build, failure: Any, code: int, kind: str, on_error: str
) -> None:
    house = await build(on_error=on_error)
    client = await house.connect()

    client.say("1")
    house.pool.fail(failure)

    assert error(client.last) == (code, kind, 1)
    assert "secret" not in client.frames[-1]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (500, "upstream_error"),
        (302, "upstream_error"),
        (422, "bad_request"),
        (403, "forbidden"),
        (404, "not_found"),
        (429, "rate_limited"),
        (503, "upstream_unavailable"),
    ],
)
async def test_an_error_of_php_is_an_error_frame_with_its_own_status(
    build: Build, status: int, kind: str
) -> None:
    house = await build()
    client = await house.connect()

    client.say("1", "2")
    house.pool.answer("secret words", status)

    assert error(client.last) == (status, kind, 1)
    assert "secret" not in client.frames[-1]
    assert house.pool.bodies == [b"2"], "the connection goes on"


async def test_on_error_close_ends_the_connection(build: Build) -> None:
    house = await build(on_error="close")
    client = await house.connect()

    client.say("1")
    house.pool.answer("no", 500)

    assert client.closed == (1011, "the application failed")
    assert client.frames == []


async def test_on_error_ignore_is_silent_about_what_php_said(build: Build) -> None:
    house = await build(on_error="ignore")
    client = await house.connect()

    client.say("1", "2")
    house.pool.answer("no", 500)
    house.pool.answer('"yes"')

    assert client.frames == ['"yes"']


async def test_directives_of_an_error_reply_are_obeyed(build: Build) -> None:
    """A script that refuses with 403 and asks for a close must get its close."""
    house = await build()
    client = await house.connect()

    client.say("1")
    house.pool.answer("", 403, headers={"WS-Close": "4403 banned", "WS-Meta-Tries": "3"})

    assert error(client.last) == (403, "forbidden", 1)
    assert client.closed == (4403, "banned")
    assert client.session is not None
    assert client.session.identity.meta == {"TRIES": "3"}


async def test_the_close_of_php_wins_over_that_of_on_error(build: Build) -> None:
    house = await build(on_error="close")
    client = await house.connect()

    client.say("1")
    house.pool.answer("", 403, headers={"WS-Close": "4555 bye"})

    assert client.closed == (4555, "bye")


async def test_a_malformed_directive_is_an_error_frame(build: Build) -> None:
    house = await build()
    client = await house.connect()

    client.say("1", "2")
    house.pool.answer("x", headers={"WS-Close": "soon"})

    assert error(client.last) == (502, "upstream_error", 1)
    assert house.pool.bodies == [b"2"]


async def test_a_mistake_of_ours_costs_one_connection_and_its_end_is_told(build: Build) -> None:
    house = await build(events=["message", "disconnect"])
    client = await house.connect()

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    client.write = broken  # type: ignore[method-assign]
    client.say("1")
    house.pool.answer('"x"')
    assert client.closed == (1011, "internal error")

    client.go(1011, clean=False)
    await house.settle()
    assert house.pool.events == ["disconnect"]


async def test_a_client_faster_than_php_is_not_read_until_it_was_answered(build: Build) -> None:
    house = await build()
    client = await house.connect()

    client.say(*(str(number) for number in range(300)))
    assert client.paused
    assert len(client.kept) == 300 - INBOX_MESSAGES - 1

    seen = []
    while house.pool.requests:
        seen.append(house.pool.bodies[0].decode())
        house.pool.answer(house.pool.bodies[0])

    assert seen == [str(number) for number in range(300)]
    assert client.frames == seen
    assert not client.paused


async def test_large_messages_stop_the_reading_sooner(build: Build) -> None:
    house = await build()
    client = await house.connect()

    client.say("x", "y" * 300_000)

    assert client.paused


class TestConcurrency:
    async def test_as_many_as_configured_are_with_php_at_once(self, build: Build) -> None:
        house = await build(concurrency=3)
        client = await house.connect()

        client.say("1", "2", "3", "4")
        assert house.pool.bodies == [b"1", b"2", b"3"]
        house.pool.answer_with(response("3"), place=2)
        assert client.frames == [], "the third answer waits for the first two"
        assert len(house.pool.requests) == 2, "it still counts until it is concluded"
        house.pool.answer("1")

        assert client.frames == ["1"]
        assert house.pool.bodies == [b"2", b"4"]
        house.pool.answer("2")
        assert client.frames == ["1", "2", "3"]

    async def test_an_error_keeps_its_place(self, build: Build) -> None:
        house = await build(concurrency=2)
        client = await house.connect()

        client.say("1", "2")
        house.pool.requests.pop(1).on_failure(RequestTimeoutError(1))
        assert client.frames == []
        house.pool.answer('"1"')

        assert client.frames[0] == '"1"'
        assert error(client.last) == (504, "upstream_timeout", 2)

    async def test_a_message_that_no_rule_takes_keeps_its_place(self, build: Build) -> None:
        rules = {"select": "do", "rules": {"go": {"script": "/go.php"}}}
        house = await build(concurrency=3, messages=rules)
        client = await house.connect()

        client.say('{"do":"go"}', "nonsense", '{"do":"go"}')
        assert client.frames == []
        house.pool.answer_with(response('"third"'), place=1)
        house.pool.answer('"first"')

        assert client.frames[0] == '"first"'
        assert error(client.told[1]) == (400, "bad_request", 2)
        assert client.frames[2] == '"third"'

    async def test_effects_that_wait_hold_the_following_answers_back(self, build: Build) -> None:
        house = await build(concurrency=2)
        client = await house.connect()

        client.say("1", "2")
        house.pool.answer(
            '[{"subscribe":"a"},{"send":"first"}]', content_type="application/vnd.wsgate+json"
        )
        house.pool.answer('"second"')
        assert client.frames == []
        await house.settle()

        assert client.frames == ['"first"', '"second"']

    async def test_a_thousand_answers_that_waited_do_not_exhaust_the_stack(
        self, build: Build
    ) -> None:
        house = await build(concurrency=5000)
        client = await house.connect()

        client.say(*(str(number) for number in range(5000)))
        while len(house.pool.requests) > 1:
            house.pool.answer_with(response(house.pool.bodies[-1]), place=-1)
        house.pool.answer("0")

        assert client.frames == [str(number) for number in range(5000)]

    @settings(max_examples=50, deadline=None)
    @given(
        concurrency=st.integers(1, 5),
        count=st.integers(1, 40),
        seed=st.integers(0, 2**32),
    )
    def test_whatever_order_php_answers_in_replies_come_in_the_order_of_the_frames(
        self, concurrency: int, count: int, seed: int
    ) -> None:
        asyncio.run(self._in_any_order(concurrency, count, random.Random(seed)))

    async def _in_any_order(self, concurrency: int, count: int, chance: random.Random) -> None:
        house = await House(
            concurrency=concurrency,
            messages={"select": "k", "rules": {"a": {"script": "/a.php"}}},
        ).start()
        client = await house.connect()
        expected: list[object] = []
        said = 0
        while said < count or house.pool.requests:
            assert len(house.pool.requests) <= concurrency
            if said < count and (not house.pool.requests or chance.random() < 0.6):
                said += 1
                taken = chance.random() < 0.8
                client.say(json.dumps({"k": "a" if taken else "b", "n": said}))
                expected.append(said)
            elif house.pool.requests:
                place = chance.randrange(len(house.pool.requests))
                number = json.loads(house.pool.bodies[place])["n"]
                how = chance.random()
                if how < 0.2:
                    house.pool.requests.pop(place).on_failure(UpstreamDiedError(0))
                elif how < 0.4:
                    effects = json.dumps([{"subscribe": "c"}, {"send": number}])
                    kind = "application/vnd.wsgate+json"
                    house.pool.answer_with(response(effects, content_type=kind), place)
                else:
                    house.pool.answer_with(response(str(number)), place)
            if chance.random() < 0.5 or not house.pool.requests:
                await house.settle()
        await house.settle()
        told = [
            frame if isinstance(frame, int) else frame["error"]["message_id"]
            for frame in client.told
        ]
        assert told == expected
        await house.stop()


class TestReload:
    async def test_more_concurrency_begins_when_nothing_is_with_php(self, build: Build) -> None:
        """The answer to a message that has no place in the order must not be lost."""
        house = await build()
        client = await house.connect()
        assert client.session is not None

        client.say("1")
        route = house.read(concurrency=2).named("test")
        assert route is not None
        client.session.rebind(route)
        client.say("2", "3", "4")
        assert house.pool.bodies == [b"1"]
        house.pool.answer("1")
        assert house.pool.bodies == [b"2", b"3"]
        house.pool.answer_with(response("3"), place=1)
        house.pool.answer("2")
        house.pool.answer("4")

        assert client.frames == ["1", "2", "3", "4"]


class TestTheEnd:
    async def test_what_was_sent_before_the_close_is_executed_then_php_hears_it(
        self, build: Build
    ) -> None:
        house = await build(events=["message", "disconnect"])
        client = await house.connect()

        client.say("1", "2", "3")
        client.go(1001, "bye")
        seen = []
        while house.pool.requests:
            seen.append(house.pool.events[0])
            house.pool.answer("x")
            await house.settle()

        assert seen == ["message", "message", "message", "disconnect"]
        assert client.frames == []

    async def test_a_client_that_is_gone_joins_nothing_any_more(self, build: Build) -> None:
        """Nobody would ever take it out of the channel again."""
        house = await build()
        client = await house.connect()

        client.say("1", "2")
        client.go()
        house.pool.answer("", headers={"WS-Subscribe": "a"})
        await house.settle()
        house.pool.answer("", headers={"WS-Subscribe": "b"})
        await house.settle()

        assert house.channels.subscriptions == 0
        assert house.channels.channels == 0

    async def test_whoever_waits_for_the_last_session_waits_for_its_messages(
        self, build: Build
    ) -> None:
        house = await build(events=["message", "disconnect"])
        client = await house.connect()

        client.say("1")
        client.go()
        assert not await house.services.directory.emptied(0.01)
        assert len(house.services.directory) == 0
        house.pool.answer("x")

        assert await house.services.directory.emptied(1)
        assert len(house.farewell) == 1

    async def test_nothing_keeps_a_session_that_is_over(self, build: Build) -> None:
        house = await build(client_subscribe=["*"], client={"idle_timeout": "24h"})
        gc.collect()
        gc.disable()
        try:
            client = await house.connect(subprotocols=("wsgate.v1.json",))
            client.ask(id=1, subscribe="room")
            await house.settle()
            client.ask(id=2, send="x")
            house.pool.answer('"y"')
            gone = weakref.ref(client.session)
            client.go()
            await house.settle()
            del client

            assert gone() is None, gc.get_referrers(gone())
        finally:
            gc.enable()
