"""`disconnect`: what PHP hears, in which order, and how fast."""

import json
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from fastcgi.errors import UpstreamDiedError
from gateway.sessions import farewell
from tests.fakes import House, params_of

Build = Callable[..., Awaitable[House]]

EVENTS = ["message", "disconnect"]


async def test_php_hears_how_the_connection_ended(build: Build) -> None:
    house = await build(events=EVENTS)
    client = await house.connect()
    assert client.session is not None
    connection = client.session.id

    client.go(4001, "bye \0 ü")
    await house.settle()

    server = house.pool.server
    assert server["WS_EVENT"] == "disconnect"
    assert server["WS_CLOSE_CODE"] == "4001"
    assert server["WS_CLOSE_REASON"] == "bye  ü"
    assert server["WS_CONNECTION_ID"] == connection
    assert server["CONTENT_TYPE"] == "application/json"
    assert json.loads(house.pool.bodies[0]) == {
        "code": 4001,
        "reason": "bye \0 ü",
        "clean": True,
    }
    assert server["CONTENT_LENGTH"] == str(len(house.pool.bodies[0]))


async def test_a_socket_that_vanished_is_1006_and_not_clean(build: Build) -> None:
    house = await build(events=EVENTS)
    client = await house.connect()

    client.go(1006, clean=False)
    await house.settle()

    assert json.loads(house.pool.bodies[0]) == {"code": 1006, "reason": "", "clean": False}


async def test_a_route_that_does_not_want_it_gets_none(build: Build) -> None:
    house = await build()
    client = await house.connect()

    client.go()
    await house.settle()

    assert house.pool.requests == []
    assert len(house.farewell) == 0


async def test_only_a_few_are_with_php_at_once(build: Build) -> None:
    """Messages of those who stayed come first."""
    house = await build(events=EVENTS)
    for client in [await house.connect() for _ in range(10)]:
        client.go()

    await house.settle()
    answered = 0
    while house.pool.requests:
        assert len(house.pool.requests) <= 2
        house.pool.answer("")
        answered += 1
        await house.settle()

    assert answered == 10
    assert await house.farewell.drained(0.01) == 0


async def test_they_leave_in_the_order_of_the_ends(build: Build) -> None:
    house = await build(events=EVENTS)
    clients = [await house.connect() for _ in range(6)]
    for number, client in enumerate(clients):
        client.go(4000 + number)

    seen = []
    await house.settle()
    while house.pool.requests:
        seen.append(int(house.pool.server["WS_CLOSE_CODE"]))
        house.pool.answer("")
        await house.settle()
    assert seen == [4000, 4001, 4002, 4003, 4004, 4005]


async def test_the_rate_is_kept(build: Build) -> None:
    house = await build(events=EVENTS, rate=20.0)
    for client in [await house.connect() for _ in range(5)]:
        client.go()

    await house.settle()
    assert len(house.pool.requests) == 1, "the others wait for their time"
    house.pool.answer("")
    await house.settle()
    assert house.pool.requests == []
    assert len(house.farewell) == 4


async def test_no_answer_is_an_end_too(build: Build) -> None:
    house = await build(events=EVENTS)
    for client in [await house.connect() for _ in range(3)]:
        client.go()

    await house.settle()
    for _ in range(3):
        house.pool.fail(UpstreamDiedError(0))
        await house.settle()

    assert await house.farewell.drained(0.01) == 0


async def test_past_the_limit_events_are_dropped_and_that_is_said(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(farewell, "LIMIT", 2)
    house = await build(events=EVENTS)
    clients = [await house.connect() for _ in range(4)]

    with capture_logs() as logs:
        for client in clients:
            client.go()

    assert len(house.farewell) == 2
    assert [line["event"] for line in logs] == ["disconnect event dropped"] * 2


async def test_one_that_cannot_be_sent_does_not_stop_the_others(build: Build) -> None:
    house = await build(events=EVENTS)
    broken, whole = await house.connect(), await house.connect()
    session = broken.session
    assert session is not None

    broken.go()
    session._end = None  # type: ignore[assignment]
    whole.go(4002)
    with capture_logs() as logs:
        await house.settle()

    assert [params_of(request)["WS_CLOSE_CODE"] for request in house.pool.requests] == ["4002"]
    assert [line["event"] for line in logs] == ["disconnect event failed"]


async def test_the_log_names_the_connection(build: Build) -> None:
    house = await build(events=EVENTS)
    client = await house.connect()
    assert client.session is not None
    connection = client.session.id

    client.go()
    await house.settle()
    with capture_logs() as logs:
        house.pool.answer("", 500, stderr=b"PHP Warning")

    assert logs[0]["connection"] == connection
    assert logs[0]["text"] == "PHP Warning"
