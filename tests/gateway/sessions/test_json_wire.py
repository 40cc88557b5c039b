"""wsgate.v1.json: every command, every answer, and how data stands in them."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fastcgi.errors import RequestTimeoutError
from gateway.sessions.commands import LIMIT
from gateway.sessions.joining import MOST_JOINED
from tests.fakes import FakeClient, House

Build = Callable[..., Awaitable[House]]
OFFER = ("wsgate.v1.json",)


@pytest.fixture
async def house(build: Build) -> House:
    return await build(
        client_subscribe=["room.*", "full", "closed"],
        client_publish=["room.*"],
        channels=[
            {"match": "room.*", "presence": True, "history": {"size": 5, "ttl": "1m"}},
            {"match": "full", "max_subscribers": 1},
            {"match": "closed", "create": "explicit"},
        ],
    )


async def enter(house: House, **more: Any) -> FakeClient:
    client = await house.connect(subprotocols=OFFER, **more)
    client.frames.clear()
    return client


async def test_the_first_word_is_who_the_client_is(house: House) -> None:
    client = await house.connect(subprotocols=OFFER)
    assert client.session is not None

    assert client.told == [{"connected": {"id": client.session.id, "user": ""}}]


async def test_the_push_url_stands_in_the_first_word_where_it_is_announced(build: Build) -> None:
    house = await build(announce_url=True)
    client = await house.connect(subprotocols=OFFER)
    assert client.session is not None

    assert client.told[0]["connected"]["url"] == f"http://push/connections/{client.session.id}"


class TestSend:
    @pytest.mark.parametrize(
        "value", ['{"a":[1,2.50]}', '"x"', "null", "0", "[]", "false", '"\\u00fc"']
    )
    async def test_php_gets_the_json_text_of_the_value(self, house: House, value: str) -> None:
        client = await enter(house)

        client.say('{"id":1,"send":' + value + "}")
        assert house.pool.bodies == [value.encode()]
        assert house.pool.server["CONTENT_TYPE"] == "application/json"

    @pytest.mark.parametrize(
        ("body", "content_type", "reply"),
        [
            (b'{"a": 1}', "application/json", b'{"id":"x","reply":{"a": 1}}'),
            (b'{"a": 1}', "application/json; charset=utf-8", b'{"id":"x","reply":{"a": 1}}'),
            (b"plain", "text/html", b'{"id":"x","reply":"plain"}'),
            (b"not json", "application/json", b'{"id":"x","reply":"not json"}'),
            ('"ü'.encode(), "text/plain", '{"id":"x","reply":"\\"ü"}'.encode()),
            (
                b"\x00\xff",
                "application/octet-stream",
                b'{"id":"x","reply":"AP8=","encoding":"base64"}',
            ),
        ],
    )
    async def test_the_reply_is_data_by_its_type(
        self, house: House, body: bytes, content_type: str, reply: bytes
    ) -> None:
        client = await enter(house)

        client.ask(id="x", send=1)
        house.pool.answer(body, content_type=content_type)
        assert client.frames == [reply.decode()]

    async def test_a_warning_before_the_json_makes_it_text_and_breaks_nothing(
        self, house: House
    ) -> None:
        client = await enter(house)

        client.ask(id=1, send=1)
        house.pool.answer('Warning: x in "y"\n{"a":1}')
        assert client.last == {"id": 1, "reply": 'Warning: x in "y"\n{"a":1}'}

    async def test_a_failure_names_the_id(self, house: House) -> None:
        client = await enter(house)

        client.ask(id=7, send=1)
        house.pool.fail(RequestTimeoutError(1))
        assert client.last["id"] == 7
        assert client.last["error"]["type"] == "upstream_timeout"

    async def test_an_id_is_not_needed(self, house: House) -> None:
        client = await enter(house)

        client.ask(send=1)
        house.pool.answer("2")
        assert client.last == {"reply": 2}

    async def test_a_route_without_messages_says_so_to_who_waits(self, build: Build) -> None:
        house = await build(events=["connect"], client_publish=["a"])
        arrival = house.begin(subprotocols=OFFER)
        client = house.enter(arrival)
        client.frames.clear()

        client.ask(id=1, send=1)
        assert client.last["error"]["type"] == "not_found"
        assert house.pool.requests == []


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "hello",
        "[]",
        "1",
        "{}",
        '{"id":1}',
        '{"id":1,"send":1,"subscribe":"a"}',
        '{"id":true,"send":1}',
        '{"id":1.5,"send":1}',
        '{"id":1,"publish":"room.1"}',
        '{"id":1,"subscribe":5}',
        '{"id":1,"subscribe":"room.1","since":{"offset":-1}}',
        '{"id":1,"subscribe":"room.1","since":{"offset":1,"epoch":"x","more":1}}',
        '{"id":1,"history":"room.1","limit":-1}',
        "[" * 100_000,
        '{"id":1,"send":' + "[" * 20_000,
        '{"id":' + "9" * 10_000 + ',"send":1}',
        '{"id":"\\ud800","send":1}',
        '{"id":1,"subscribe":"\\ud800"}',
        '{"send":NaN}',
        '{"send":1}garbage',
    ],
)
async def test_what_is_no_command_is_an_error_and_the_socket_stays(
    house: House, frame: str
) -> None:
    client = await enter(house)

    client.say(frame)
    await house.settle()
    assert client.last["error"]["code"] == 400
    assert client.last["error"]["type"] == "bad_request"
    client.ask(id=1, send=1)
    assert len(house.pool.requests) == 1


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ('{"id":1,"join":"room.1"}', "expected one of send, subscribe"),
        ('{"id":1,"publish":"room.1"}', "publish needs data"),
        ("hello", "expected a JSON object"),
        ("[1]", "expected a JSON object"),
        ('{"id":1,"subscribe":7}', "Expected `str | null`, got `int` - at `$.subscribe`"),
        ('{"id":1,"subscribe":"a","since":{"offset":1}}', "Object missing required field `epoch`"),
    ],
)
async def test_what_is_no_command_is_told_what_is_expected(
    house: House, frame: str, message: str
) -> None:
    client = await enter(house)

    client.say(frame)
    await house.settle()
    assert client.last["error"]["message"].startswith(message)


@pytest.mark.parametrize(
    ("frame", "tag"),
    [
        ('{"id":7,"subscribe":7}', 7),
        ('{"subscribe":"a","since":1,"id":"x"}', "x"),
        ('{"id":7}', 7),
        ('{"id":[7],"subscribe":"a"}', None),
        ('{"id":7,', None),
    ],
)
async def test_what_is_no_command_comes_back_with_its_id_where_it_has_one(
    house: House, frame: str, tag: object
) -> None:
    """Who waits for the answer of that id would wait for ever."""
    client = await enter(house)

    client.say(frame)
    assert client.last.get("id") == tag
    assert client.last["error"]["code"] == 400


class TestChannels:
    async def test_subscribing_gives_the_position(self, house: House) -> None:
        client = await enter(house)

        client.ask(id=2, subscribe="room.1")
        await house.settle()
        answer = client.told[0]
        assert answer["id"] == 2
        assert answer["subscribed"] == "room.1"
        assert answer["position"]["offset"] == 0
        assert answer["position"]["epoch"]
        assert answer["publications"] == []

    async def test_publications_have_channel_data_and_position(self, house: House) -> None:
        client = await enter(house)
        client.ask(id=2, subscribe="room.1")
        await house.settle()
        epoch = client.told[0]["position"]["epoch"]

        await house.publish("room.1", '{"a": [1]}')
        await house.publish("room.1", "words", content_type="text/plain")
        assert client.told[1:] == [
            {"channel": "room.1", "data": {"a": [1]}, "offset": 1, "epoch": epoch},
            {"channel": "room.1", "data": "words", "offset": 2, "epoch": epoch},
        ]

    async def test_one_client_cannot_join_without_end(self, house: House) -> None:
        """It would take the places of everybody else's channels."""
        client = await enter(house)
        for number in range(MOST_JOINED):
            client.ask(subscribe=f"room.{number}")
            await house.settle()
        assert client.last["subscribed"] == f"room.{MOST_JOINED - 1}"

        client.ask(id=1, subscribe="room.more")
        await house.settle()
        assert client.last["id"] == 1
        assert client.last["error"]["code"] == 409
        assert client.last["error"]["type"] == "conflict"
        client.ask(id=2, subscribe="room.0")
        client.ask(id=3, unsubscribe="room.0")
        client.ask(id=4, subscribe="room.more")
        await house.settle()
        assert [client.told[-3]["subscribed"], client.last["subscribed"]] == ["room.0", "room.more"]

    async def test_binary_data_is_base64(self, build: Build) -> None:
        house = await build(subscribe=["a"])
        client = await enter(house)

        await house.publish("a", "\x00", content_type="application/octet-stream")
        assert client.told == [{"channel": "a", "data": "AA==", "encoding": "base64"}]

    async def test_resuming_gives_what_was_missed_before_anything_else(self, house: House) -> None:
        client = await enter(house)
        client.ask(id=1, subscribe="room.1")
        await house.settle()
        position = client.told[0]["position"]
        client.ask(id=2, unsubscribe="room.1")
        await house.settle()
        assert client.last == {"id": 2, "unsubscribed": "room.1"}
        await house.publish("room.1", "1")
        await house.publish("room.1", "2")

        client.ask(id=3, subscribe="room.1", since=position)
        await house.settle()
        answer = client.last
        assert answer["recovered"] is True
        assert [one["data"] for one in answer["publications"]] == [1, 2]
        assert answer["position"]["offset"] == 2

        client.ask(id=4, unsubscribe="room.1")
        client.ask(id=5, subscribe="room.1", since={"offset": 1, "epoch": "other"})
        await house.settle()
        assert client.last["recovered"] is False
        assert client.last["publications"] == []

    @pytest.mark.parametrize(
        ("channel", "code", "kind"),
        [
            ("elsewhere", 403, "forbidden"),
            ("full", 409, "conflict"),
            ("closed", 404, "not_found"),
            ("room.*", 400, "bad_request"),
            ("room. x", 400, "bad_request"),
            ("room.\n", 400, "bad_request"),
        ],
    )
    async def test_a_refused_join_is_an_error_to_who_asked(
        self, house: House, channel: str, code: int, kind: str
    ) -> None:
        other = await enter(house)
        other.ask(id=1, subscribe="full")
        await house.settle()
        client = await enter(house)

        client.ask(id=9, subscribe=channel)
        await house.settle()
        assert client.last["id"] == 9
        assert (client.last["error"]["code"], client.last["error"]["type"]) == (code, kind)
        assert client.closed is None

    async def test_publishing_answers_with_the_offset(self, house: House) -> None:
        client, other = await enter(house), await house.connect()
        assert other.session is not None
        await house.channels.join(other.session, "room.1")

        client.say('{"id":4,"publish":"room.1","data":{"x": "ü"}}')
        await house.settle()
        assert client.told == [{"id": 4, "published": {"offset": 1}}]
        assert other.frames == ['{"x": "ü"}']

        client.ask(id=5, publish="elsewhere", data=1)
        await house.settle()
        assert client.last["error"]["code"] == 403

    async def test_history_and_presence_are_for_who_is_inside(self, house: House) -> None:
        client = await enter(house)
        assert client.session is not None
        client.ask(id=1, history="room.1")
        client.ask(id=2, presence="room.1")
        await house.settle()
        assert [answer["error"]["code"] for answer in client.told] == [403, 403]

        client.frames.clear()
        client.ask(id=3, subscribe="room.1")
        await house.settle()
        for number in "123":
            await house.publish("room.1", number)
        client.ask(id=4, history="room.1", limit=2)
        client.ask(id=5, presence="room.1")
        await house.settle()
        history, presence = client.told[-2:]
        assert history["id"] == 4
        assert history["history"]["publications"] == [
            {"data": 2, "offset": 2},
            {"data": 3, "offset": 3},
        ]
        assert history["history"]["position"]["offset"] == 3
        assert presence["presence"] == {
            "channel": "room.1",
            "count": 1,
            "clients": [{"id": client.session.id, "user": ""}],
        }

    async def test_who_comes_and_goes_is_told(self, house: House) -> None:
        client, other = await enter(house), await enter(house)
        assert other.session is not None
        who = {"id": other.session.id, "user": ""}
        client.ask(id=1, subscribe="room.1")
        await house.settle()

        other.ask(id=1, subscribe="room.1")
        await house.settle()
        assert client.last == {"channel": "room.1", "join": who}
        other.go()
        await house.settle()
        assert client.last == {"channel": "room.1", "leave": who}

    async def test_a_gap_is_told_once(self, house: House) -> None:
        client = await enter(house)
        client.ask(id=1, subscribe="room.1")
        await house.settle()

        house.channels.on_gap(None)
        house.channels.on_gap(None)
        assert client.told[1:] == [{"channel": "room.1", "gap": True}]

    async def test_a_channel_that_is_closed_closes_who_is_inside(self, house: House) -> None:
        client = await enter(house)
        client.ask(id=1, subscribe="room.1")
        await house.settle()

        await house.channels.close("room.1")
        assert client.closed == (4410, "channel closed")

    async def test_commands_are_done_in_their_order_beside_messages(self, house: House) -> None:
        client = await enter(house)

        client.ask(id=1, send="slow")
        client.ask(id=2, subscribe="room.1")
        client.ask(id=3, publish="room.1", data=1)
        client.ask(id=4, unsubscribe="room.1")
        await house.settle()
        assert [frame.get("id") for frame in client.told] == [2, None, 3, 4]
        assert client.told[1]["data"] == 1

    async def test_many_commands_at_once_are_all_done(self, house: House) -> None:
        """A client that sends faster than the channels are is not read, and loses nothing."""
        client = await enter(house)

        for number in range(LIMIT * 3):
            client.ask(id=number, publish="room.1", data=number)
        assert client.paused
        for _ in range(100):
            await house.settle()

        assert [frame["id"] for frame in client.told] == list(range(LIMIT * 3))
        assert not client.paused

    async def test_a_broken_command_does_not_stop_those_behind_it(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = await enter(house)

        async def broken(*_: object, **__: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(house.channels, "presence", broken)
        client.ask(id=1, subscribe="room.1")
        client.ask(id=2, presence="room.1")
        client.ask(id=3, history="room.1")
        await house.settle()
        assert [frame["id"] for frame in client.told] == [1, 2, 3]
        assert client.told[1]["error"]["code"] == 500

    async def test_a_client_that_leaves_in_the_middle_is_in_no_channel(self, house: House) -> None:
        client = await enter(house)

        client.ask(id=1, subscribe="room.1")
        client.ask(id=2, subscribe="room.2")
        client.go()
        await house.settle()
        assert house.channels.subscriptions == 0
        assert await house.channels.presence("room.1") == ()


class TestRaw:
    async def test_a_publication_is_one_frame_with_the_data(self, build: Build) -> None:
        house = await build(subscribe=["a"])
        client = await house.connect()

        await house.publish("a", '{"x": 1}')
        await house.publish("a", "words", content_type="text/plain")
        await house.publish("a", "\x00", content_type="application/octet-stream")
        assert client.frames == ['{"x": 1}', "words", b"\x00"]

    async def test_joins_leaves_and_gaps_are_silent(self, build: Build) -> None:
        house = await build(subscribe=["a"], channels=[{"match": "a", "presence": True}])
        client, other = await house.connect(), await house.connect()
        other.go()
        await house.settle()
        house.channels.on_gap(None)
        assert client.frames == []

    async def test_frames_go_to_the_one_channel_that_may_be_published_to(
        self, build: Build
    ) -> None:
        house = await build(path="/ws/{room}", subscribe=["room.{room}"], client_publish=["room.*"])
        client, other = await house.connect("/ws/1"), await house.connect("/ws/1")

        client.say("hello")
        client.say(b"\x00", text=False)
        await house.settle()
        assert other.frames == ["hello", b"\x00"]
        assert client.frames == ["hello", b"\x00"]
        assert house.pool.requests == []

    async def test_many_frames_at_once_are_all_published(self, build: Build) -> None:
        house = await build(subscribe=["a"], client_publish=["a"])
        client = await house.connect()

        client.say(*(str(number) for number in range(1000)))
        for _ in range(100):
            await house.settle()
        assert client.frames == [str(number) for number in range(1000)]

    async def test_the_push_url_is_announced_where_that_is_asked_for(self, build: Build) -> None:
        house = await build(announce_url=True)
        client = await house.connect()
        assert client.session is not None

        assert client.told == [{"url": f"http://push/connections/{client.session.id}"}]


async def test_a_publication_is_encoded_once_for_all_clients_of_a_wire(build: Build) -> None:
    house = await build(subscribe=["a"])
    clients = [await enter(house) for _ in range(5)]
    encoded = []

    def encode(payload: bytes, *, text: bool) -> bytes:
        encoded.append(payload)
        return b"t" + payload

    for client in clients:
        client.encode = encode  # type: ignore[method-assign]
    await house.publish("a", "1")
    assert len(encoded) == 1
    assert [json.loads(client.frames[-1])["data"] for client in clients] == [1] * 5
