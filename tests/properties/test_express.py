"""Whatever callers send: the short way answers as aiohttp's server does, or leaves it to it."""

import asyncio
import re
from typing import Any

from aiohttp import web
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.api import create_api
from gateway.api.express import Express
from gateway.brokers.memory import MemoryBroker
from gateway.channels.broker import ChannelRules
from gateway.channels.policy import ChannelPolicy, Policies
from gateway.channels.service import ChannelService
from tests.gateway.api.conftest import House

TURNS = 50
VARYING = re.compile(rb'Date: [^\r]+\r\n|"epoch":"[^"]*"')

NAMES = st.sampled_from(
    ["room.1", "kept.1", "private.1", "a:b", "..", "a b", "%61", "ä", "a/b", ""]
)
QUERIES = st.sampled_from(["", "", "?", "?exclude=x", "#x"])
VALUES = st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=8)
HEADERS = st.lists(
    st.sampled_from(
        [
            ("Host", "localhost"),
            ("host", "evil.example"),
            ("Content-Type", "application/json"),
            ("content-type", "image/png"),
            ("Content-Type", "multipart/x"),
            ("Idempotency-Key", "k"),
            ("Content-Encoding", "gzip"),
            ("Content-Encoding", "identity"),
            ("Transfer-Encoding", "chunked"),
            ("Connection", "close"),
            ("Connection", "upgrade"),
            ("Upgrade", "websocket"),
            ("Origin", "http://localhost"),
            ("X-API-Key", "key"),
            ("Authorization", "Bearer key"),
        ]
    )
    | st.tuples(st.sampled_from(["Content-Type", "Idempotency-Key", "Host", "X-API-Key"]), VALUES),
    max_size=4,
)
BODIES = st.sampled_from([b"", b"1", b'{"a":1}', b"\xff", b"1\r\nx\r\n0\r\n\r\n"]) | st.binary()


class Wire(asyncio.Transport):
    """A connection of which only the bytes are real."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__({"peername": ("127.0.0.1", 5000), "sockname": ("127.0.0.1", 8081)})
        self._protocol: asyncio.BaseProtocol = protocol
        self.sent = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.sent += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def end(self) -> None:
        """The caller goes."""
        self._protocol.connection_lost(None)


async def answered(data: bytes, key: str, *, short: bool) -> tuple[bytes, list[Any]]:
    """What is sent back, and what the subscribers of two channels were given."""
    rules = ChannelRules(history_size=3, history_ttl=600)
    policies = [
        ChannelPolicy("kept.*", rules),
        ChannelPolicy("private.*", ChannelRules(explicit=True)),
    ]
    broker = MemoryBroker()
    house = House(broker, ChannelService(broker, Policies(policies)))
    await house.channels.start()
    listener = await house.listen("room.1", "kept.1", "a")
    runner = web.AppRunner(create_api(house.services(api_key=key)), access_log=None)
    await runner.setup()
    assert runner.server is not None
    express = Express(runner.server, runner.app)
    protocol = express() if short else runner.server()
    wire = Wire(protocol)
    protocol.connection_made(wire)
    protocol.data_received(data)
    for _ in range(TURNS):
        await asyncio.sleep(0)
    sent, received = wire.sent, list(listener.received)
    # What came without its end is still waited for.
    wire.end()
    express.close()
    await runner.cleanup()
    await house.channels.stop()
    return sent, received


def request(line: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
    """A request as a caller would send it, for better or worse."""
    lines = [line, *(f"{name}: {value}" for name, value in headers)]
    if ("Transfer-Encoding", "chunked") not in headers:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


LINES = st.builds(
    "{} /channels/{}{} HTTP/{}".format,
    st.sampled_from(["POST", "POST", "POST", "PUT", "GET", "post"]),
    NAMES,
    QUERIES,
    st.sampled_from(["1.1", "1.1", "1.0"]),
)
USUAL = request("POST /channels/room.1 HTTP/1.1", [("Host", "localhost")], b"1")
KEYED = request(
    "POST /channels/kept.1 HTTP/1.1", [("X-API-Key", "key"), ("Idempotency-Key", "k")], b"1"
)


@settings(deadline=None)  # two servers are made for each
@given(st.builds(request, LINES, HEADERS, BODIES), st.sampled_from(["", "key"]))
@example(USUAL, "")
@example(KEYED, "key")
def test_the_short_way_and_the_server_give_the_same_answers(data: bytes, key: str) -> None:
    short = asyncio.run(answered(data, key, short=True))
    plain = asyncio.run(answered(data, key, short=False))

    assert sorted(VARYING.sub(b"", short[0]).splitlines()) == sorted(
        VARYING.sub(b"", plain[0]).splitlines()
    )
    assert short[1] == plain[1]
