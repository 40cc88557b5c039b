"""Any connection by its id: here, on another worker, or nowhere."""

from collections.abc import Awaitable, Callable

import pytest

from gateway.errors import (
    ChannelFullError,
    ChannelNameError,
    ChannelNotFoundError,
    ConnectionGoneError,
    ConnectionIdError,
    MessageError,
    NodeGoneError,
    NotTextError,
)
from gateway.sessions.connections import Connections
from gateway.sessions.identity import new_id, new_node
from tests.fakes import FakeClient, House

Build = Callable[..., Awaitable[House]]


class TwoWorkers:
    """A worker that holds a connection, and one that is asked about it."""

    def __init__(self, holder: House, asked: House) -> None:
        self.here = Connections(holder.channels, holder.services.directory)
        self.there = Connections(asked.channels, asked.services.directory)

        async def ask(node: str, question: bytes) -> bytes:
            if node != holder.channels.node:
                raise NodeGoneError(node)
            return await self.here.answer(question)

        asked.channels.ask = ask  # type: ignore[method-assign]


@pytest.fixture(params=["here", "elsewhere"])
async def found(
    request: pytest.FixtureRequest, build: Build
) -> tuple[Connections, FakeClient, House]:
    """Connections as either worker sees them, and a client of the first."""
    channels = [{"match": "full", "max_subscribers": 1}, {"match": "shut", "create": "explicit"}]
    house, other = await build(channels=channels), await build()
    workers = TwoWorkers(house, other)
    client = await house.connect("/ws")
    return workers.here if request.param == "here" else workers.there, client, house


Found = tuple[Connections, FakeClient, House]


def id_of(client: FakeClient) -> str:
    assert client.session is not None
    return client.session.id


async def test_the_state(found: Found) -> None:
    connections, client, _ = found
    client.say("x")

    assert await connections.state(id_of(client)) == {
        "id": id_of(client),
        "user": "",
        "route": "test",
        "transport": "websocket",
        "remote": "192.0.2.7",
        "connected_at": 1_700_000_000_000,
        "messages": 1,
        "channels": [],
    }


async def test_a_push_is_one_frame_while_php_works(found: Found) -> None:
    connections, client, _ = found
    client.say("x")

    await connections.push(id_of(client), b"text", "text/plain")
    await connections.push(id_of(client), b"\xff", "application/octet-stream")
    assert client.frames == ["text", b"\xff"]
    with pytest.raises(NotTextError):
        await connections.push(id_of(client), b"\xff", "text/plain")


async def test_a_close(found: Found) -> None:
    connections, client, _ = found

    for code, reason in [(1006, ""), (999, ""), (4000, "x" * 124)]:
        with pytest.raises(MessageError):
            await connections.close(id_of(client), code, reason)
    await connections.close(id_of(client), 4000, "bye")
    assert client.closed == (4000, "bye")
    with pytest.raises(ConnectionGoneError):
        await connections.push(id_of(client), b"x", "text/plain")


async def test_joining_and_leaving(found: Found) -> None:
    connections, client, house = found

    await connections.subscribe(id_of(client), "room")
    await house.publish("room", "1")
    await connections.unsubscribe(id_of(client), "room")
    await house.publish("room", "2")
    assert client.frames == ["1"]


async def test_refused_joins_keep_their_errors(found: Found) -> None:
    connections, client, house = found
    other = await house.connect()
    assert other.session is not None
    await house.channels.join(other.session, "full")

    for channel, error in [
        ("full", ChannelFullError),
        ("shut", ChannelNotFoundError),
        ("a*", ChannelNameError),
    ]:
        with pytest.raises(error):
            await connections.subscribe(id_of(client), channel)


async def test_a_connection_that_has_gone(found: Found) -> None:
    connections, client, _ = found
    connection = id_of(client)
    client.go()

    with pytest.raises(ConnectionGoneError):
        await connections.state(connection)


async def test_an_id_of_a_worker_that_is_no_more(found: Found) -> None:
    connections, _, _ = found

    with pytest.raises(ConnectionGoneError):
        await connections.state(new_id(new_node()))


@pytest.mark.parametrize("connection", ["", "x", "é" * 32, "a" * 31, "a" * 33, "../" + "a" * 29])
async def test_what_cannot_be_an_id(found: Found, connection: str) -> None:
    connections, _, _ = found

    with pytest.raises(ConnectionIdError):
        await connections.state(connection)
