"""Messages made to hurt: bombs, floods, and what is never finished."""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from gateway.transports.frames import encode
from tests.abuse import DEADLINE, Streams, Victim, drop, healthy, rest
from tests.phpfpm import PhpFpm

MASK = b"\0\0\0\0"
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate\r\n"


def masked(payload: bytes, opcode: int = 1, *, fin: bool = True, size: int | None = None) -> bytes:
    """A client's frame, with a key that changes nothing; its length may be a lie."""
    size = len(payload) if size is None else size
    first = bytes((opcode | (0x80 if fin else 0),))
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 1 << 16:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    return first + length + MASK + payload


def bomb(size: int) -> bytes:
    """A compressed message of zeros."""
    squeeze = zlib.compressobj(9, wbits=-15)
    chunk = bytes(1 << 20)
    body = b"".join(squeeze.compress(chunk) for _ in range(size >> 20))
    body += squeeze.flush(zlib.Z_SYNC_FLUSH)
    return masked(body[:-4], 2 | 0x40)


def code_of(data: bytes) -> int:
    """The code in the close frame that the data ends with."""
    start = data.rindex(b"\x88")
    return int.from_bytes(data[start + 2 : start + 4], "big")


async def test_a_hundred_deflate_bombs_at_once_are_refused_and_cost_no_memory(
    php: PhpFpm, tmp_path: Path
) -> None:
    """Faults 11 and 19."""
    async with Victim(php, tmp_path, client={"compression": True}) as victim, healthy(victim):
        before = victim.resident
        wire = bomb(64 << 20)
        crowd = await asyncio.gather(*(victim.raw(more=DEFLATE) for _ in range(100)))
        for _, writer in crowd:
            writer.write(wire)
        ends = await asyncio.gather(*map(rest, crowd))
        assert [code_of(end) for end in ends] == [1009] * 100
        assert victim.resident - before < 50 << 20

        streams = await victim.raw(more=DEFLATE)
        # Empty blocks, one after the other: much work, no message.
        streams[1].write(masked(b"\0\0\0\xff\xff" * 100_000, 1 | 0x40))
        streams[1].write(masked(b"", 8))
        await rest(streams)


async def test_floods_and_fragments_are_ended_by_name_while_others_go_on(
    php: PhpFpm, tmp_path: Path
) -> None:
    """Faults 12, 13, 16 and 17, all at once."""
    async with Victim(
        php, tmp_path, route={"message_rate": "50/s", "events": ["message"]}
    ) as victim:
        before = victim.resident
        expected: list[tuple[int, bytes]] = [
            (1009, masked(b"", 2, size=1 << 40)),
            (1009, masked(b"x", 1, fin=False) + masked(b"x", 0, fin=False) * 5000),
            (1008, masked(b"", 9) * 10_000),
            (1008, masked(b"", 1) * 100_000),
        ]
        async with healthy(victim, 3):
            crowd = await asyncio.gather(*(victim.raw() for _ in expected))
            for (_, writer), (_, wire) in zip(crowd, expected, strict=True):
                writer.write(wire)
            ends = await asyncio.gather(*map(rest, crowd))
        assert [code_of(end) for end in ends] == [code for code, _ in expected]
        assert ends[-1].count(b'"rate_limited"') == 1
        assert victim.resident - before < 20 << 20


async def test_messages_that_are_never_finished_share_a_budget(php: PhpFpm, tmp_path: Path) -> None:
    """Fault 15: 64 MiB are held together; who comes over it is told to come back later."""
    async with Victim(php, tmp_path) as victim, healthy(victim, 2):
        before = victim.resident
        size = 1 << 20
        wire = masked(bytes(size - 64), 2, size=size)
        crowd: list[Streams] = []
        for _ in range(8):
            some = await asyncio.gather(*(victim.raw() for _ in range(10)))
            for _, writer in some:
                writer.write(wire)
            await asyncio.gather(*(writer.drain() for _, writer in some))
            crowd += some

        async def end_of(streams: Streams) -> int:
            try:
                async with asyncio.timeout(3):
                    data = await streams[0].read(100)
            except TimeoutError:
                return 0
            return code_of(data)

        ends = await asyncio.gather(*map(end_of, crowd))
        turned_away = ends.count(1013)
        assert set(ends) == {0, 1013}
        assert 80 - turned_away in {63, 64, 65}
        assert victim.resident - before < 150 << 20
        drop(crowd)

        async def room() -> bool:
            streams = await victim.raw()
            streams[1].write(wire)
            try:
                async with asyncio.timeout(0.3):
                    return not await streams[0].read(100)
            except TimeoutError:
                return True
            finally:
                streams[1].transport.abort()

        await victim.until(room)


NASTY: list[bytes] = [
    b"[" * 10_000 + b"]" * 10_000,
    b'{"send":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"send":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}",
    b"[" * 500_000,
    b"{" + b",".join(b'"%d":1' % number for number in range(100_000)) + b"}",
    b'{"id":' + b"9" * 10_000 + b',"send":1}',
    b'{"id":1e999999,"send":1}',
    b'{"id":NaN,"send":1}',
    b'{"id":1,"id":2,"send":1,"send":2}',
    b'{"id":1,"send":"\\ud800"}',
    b'{"id":"\\ud800","send":1}',
    b'{"id":"\\u0000","subscribe":"\\u0000"}',
    b'{"action":' + b"9" * 10_000 + b"}",
    b'{"action":"\\ud800"}',
    b'{"action":' + b"[" * 100_000,
    b'{"id":7,"subscribe":["x"]}',
    b'{"id":7,"subscribe":"r","since":{"offset":-1,"epoch":"x"}}',
    b'{"id":7,"subscribe":"r","since":{"offset":' + b"9" * 5000 + b',"epoch":"x"}}',
    b'{"id":7,"history":"r","limit":-1}',
    b'{"id":7,"history":"r","limit":99999999999999999999}',
    b"null",
    b"",
    b"\0",
    b'"' + b"\\u0041" * 50_000 + b'"',
]


@asynccontextmanager
async def on(victim: Victim, protocol: list[Any]) -> AsyncIterator[Any]:
    async with victim.connect(subprotocols=protocol or None) as client:
        if protocol:
            assert "connected" in json.loads(await client.recv())
        yield client


@pytest.mark.parametrize("protocol", [["wsgate.v1.json"], []], ids=["json", "raw"])
async def test_json_made_to_hurt_is_answered_and_the_socket_stays(
    php: PhpFpm, tmp_path: Path, protocol: list[str]
) -> None:
    """Fault 18: on the json wire, and where rules look into messages."""
    php.script("echo.php", "echo '\"heard\"';")
    script = {"script": "/echo.php"}
    rules = {"select": "action", "rules": {"a": script, "*": script}}
    route = {"messages": rules, "client_subscribe": ["r"]}
    async with Victim(php, tmp_path, route=route) as victim, on(victim, protocol) as client:
        for number, nasty in enumerate(NASTY):
            await client.send(nasty.decode())
            try:
                answer = await asyncio.wait_for(client.recv(), DEADLINE)
            except (TimeoutError, ConnectionClosed) as exc:
                raise AssertionError((number, nasty[:60])) from exc
            assert isinstance(json.loads(answer), dict | str), (number, answer)
        await client.send('{"id":"last","send":1}')
        assert "heard" in await asyncio.wait_for(client.recv(), DEADLINE)
        assert "Traceback" not in victim.log


def test_the_frames_of_these_tests_are_what_servers_send_but_masked() -> None:
    assert masked(b"x" * 200)[:2] == b"\x81\xfe"
    assert encode(b"x" * 200, 1)[2:4] == masked(b"x" * 200)[2:4]
