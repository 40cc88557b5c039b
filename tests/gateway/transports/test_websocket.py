"""WebSockets over real sockets: a strict client, and raw bytes for what none would send."""

import asyncio
import gc
import struct
import weakref
import zlib
from functools import partial

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

from gateway.transports.doorman import Terms

from .conftest import UPGRADE, House, eventually
from .test_guard import frame


async def upgraded(house: House):
    """A raw socket after its 101."""
    reader, writer = await house.raw()
    writer.write(UPGRADE)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    return reader, writer


async def close_code(reader: asyncio.StreamReader) -> int:
    """The code of the first close frame that comes."""
    async with asyncio.timeout(20):
        while True:
            first, length = await reader.readexactly(2)
            payload = await reader.readexactly(length)
            if first == 0x88:
                return struct.unpack("!H", payload[:2])[0] if payload else 1005


async def test_text_and_binary_messages_of_every_size_come_back(house: House) -> None:
    async with connect(house.url, max_size=None, compression=None) as client:
        for size in (0, 1, 125, 126, 127, 65535, 65536, 1 << 20):
            for message in ("x" * size, b"\xff" * size):
                await client.send(message)
                assert await client.recv() == message
    await eventually(lambda: house.porter.ear.closed)
    assert house.porter.ear.closed == [(1000, "", True)]


async def test_fragments_are_one_message(house: House) -> None:
    async with connect(house.url, compression=None) as client:
        await client.send(["a", "é", "", "c"])
        assert await client.recv() == "aéc"


async def test_a_thousand_messages_in_one_write_are_answered_in_order(house: House) -> None:
    reader, writer = await upgraded(house)
    writer.write(b"".join(frame(b"%03d" % i) for i in range(1000)))
    wire = await reader.readexactly(5000)
    assert wire == b"".join(b"\x81\x03%03d" % i for i in range(1000))
    writer.close()
    await eventually(lambda: house.porter.ear.closed)
    assert house.porter.ear.closed == [(1006, "", False)]


async def test_messages_sent_byte_by_byte_arrive_whole(house: House) -> None:
    reader, writer = await upgraded(house)
    for byte in frame(b"hello", fin=False) + frame(b"", 9) + frame(b"x" * 130, 0):
        writer.write(bytes((byte,)))
        await asyncio.sleep(0)
    assert await reader.readexactly(2) == b"\x8a\x00"
    assert (await reader.readexactly(4 + 135))[4:] == b"hello" + b"x" * 130
    writer.close()


def received(closed: ConnectionClosed) -> tuple[int, str]:
    assert closed.rcvd is not None
    return closed.rcvd.code, closed.rcvd.reason


def extensions(client: ClientConnection) -> str:
    assert client.response is not None
    return client.response.headers.get("Sec-WebSocket-Extensions", "")


def fail(_: object) -> None:
    raise ZeroDivisionError


HOSTILE = {
    "unmasked": (frame(b"x", masked=False), 1002),
    "reserved bit": (frame(b"x", rsv=4), 1002),
    "opcode": (frame(b"x", 5), 1002),
    "orphan continuation": (frame(b"x", 0), 1002),
    "data inside a message": (frame(b"x", fin=False) + frame(b"x"), 1002),
    "long ping": (frame(b"x" * 126, 9), 1002),
    "fragmented ping": (frame(b"x", 9, fin=False), 1002),
    "close with one byte": (frame(b"\x03", 8), 1002),
    "long close": (frame(struct.pack("!H", 1000) + b"x" * 124, 8), 1002),
    "close with bad UTF-8": (frame(struct.pack("!H", 1000) + b"\xff", 8), 1007),
    "bad UTF-8": (frame(b"\xff"), 1007),
    "cut UTF-8": (frame("é".encode()[:1]), 1007),
    "cut UTF-8 in fragments": (frame("é".encode()[:1], fin=False) + frame(b"", 0), 1007),
    "too big": (frame(b"x" * ((1 << 20) + 1)), 1009),
    "a terabyte": (struct.pack("!BBQ", 0x82, 0xFF, 1 << 40), 1009),
    "too many fragments": (frame(b"x", fin=False) + frame(b"x", 0, fin=False) * 1100, 1009),
    **{
        f"close {code}": (frame(struct.pack("!H", code), 8), 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    },
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_what_is_forbidden_ends_the_connection_and_is_never_delivered(house, name) -> None:
    wire, code = HOSTILE[name]
    reader, writer = await upgraded(house)
    writer.write(frame(b"good") + wire)

    assert await reader.readexactly(6) == b"\x81\x04good"
    assert await close_code(reader) == code
    assert await reader.read() == b""
    writer.close()

    ear = house.porter.ear
    assert ear.messages == [(b"good", True)]
    assert [(found, clean) for found, _, clean in ear.closed] == [(code, False)]


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1014, 3000, 4999])
async def test_a_close_frame_is_answered_with_its_code(house: House, code) -> None:
    reader, writer = await upgraded(house)
    writer.write(frame(struct.pack("!H", code) + b"bye", 8) + frame(b"too late"))

    assert await close_code(reader) == code
    assert await reader.read() == b""
    writer.close()
    assert house.porter.ear.closed == [(code, "bye", True)]
    assert house.porter.ear.messages == []


async def test_a_close_frame_without_code_is_answered_without_code(house: House) -> None:
    reader, writer = await upgraded(house)
    writer.write(frame(b"", 8))

    assert await close_code(reader) == 1005
    writer.close()
    await eventually(lambda: house.porter.ear.closed)
    assert house.porter.ear.closed == [(1005, "", True)]


async def test_our_close_waits_for_the_clients(house: House) -> None:
    async with connect(house.url) as client:
        ear = house.porter.ear
        ear.client.close(4001, "enough")
        ear.client.write(b"nothing after it")
        with pytest.raises(ConnectionClosed) as caught:
            await client.recv()
        assert received(caught.value) == (4001, "enough")
        await eventually(lambda: ear.closed)
        assert ear.closed == [(4001, "enough", True)]


async def test_a_client_that_never_answers_our_close_is_dropped_at_the_deadline(house) -> None:
    reader, writer = await upgraded(house)
    ear = house.porter.ear
    ear.client.close(1012, "")
    assert await close_code(reader) == 1012
    writer.write(frame(b"ignored"))
    house.pass_time(4.9)
    assert house.porter.inside
    house.pass_time(0.2)
    await eventually(lambda: ear.closed)
    assert ear.closed == [(1012, "", False)]
    assert ear.messages == []
    writer.close()


async def test_a_failed_client_that_stays_is_dropped_at_the_deadline(house: House) -> None:
    reader, writer = await upgraded(house)
    writer.write(frame(b"x", 5))
    assert await close_code(reader) == 1002
    writer.write(b"and on it talks")
    assert house.porter.inside
    house.pass_time(5.1)
    await eventually(lambda: not house.porter.inside)
    writer.close()


async def test_a_code_that_must_not_be_sent_is_the_callers_mistake(house: House) -> None:
    async with connect(house.url):
        with pytest.raises(ValueError, match="1006"):
            house.porter.ear.client.close(1006, "")


async def test_abort_is_seen_as_an_end_without_close_frame(house: House) -> None:
    async with connect(house.url) as client:
        house.porter.ear.client.abort()
        house.porter.ear.client.close(1000, "")
        with pytest.raises(ConnectionClosedError):
            await client.recv()
        await eventually(lambda: house.porter.ear.closed)
        assert house.porter.ear.closed == [(1006, "", False)]
        assert house.porter.ear.client.buffered() == 0


async def test_pings_are_answered_and_count_as_activity(house: House) -> None:
    async with connect(house.url) as client:
        await (await client.ping(b"are you there"))
        assert house.porter.ear.activity == 1
        house.porter.ear.client.ping()
        await eventually(lambda: house.porter.ear.activity == 2)


async def test_a_flood_of_pings_ends_with_1008(house: House) -> None:
    reader, writer = await upgraded(house)
    writer.write(frame(b"", 9) * 50)
    assert await reader.readexactly(100) == b"\x8a\x00" * 50
    house.clock.advance(0.02)
    writer.write(frame(b"", 9))
    assert await reader.readexactly(2) == b"\x8a\x00"
    writer.write(frame(b"", 9))
    assert await close_code(reader) == 1008
    writer.close()


async def test_messages_in_hand_are_held_back_while_reading_is_paused(house: House) -> None:
    reader, writer = await upgraded(house)
    ear = house.porter.ear
    ear.on = lambda payload: ear.client.pause_reading()
    writer.write(b"".join(frame(b"%d" % i) for i in range(5)))
    for seen in range(1, 6):
        await eventually(partial(ear.heard, seen))
        await asyncio.sleep(0.01)
        assert [payload for payload, _ in ear.messages] == [b"%d" % i for i in range(seen)]
        ear.client.resume_reading()
    ear.client.resume_reading()
    ear.on = None
    writer.write(frame(b"5"))
    assert await reader.readexactly(3) == b"\x81\x015"
    writer.close()


async def test_resuming_inside_the_message_that_paused_keeps_the_order(house: House) -> None:
    _reader, writer = await upgraded(house)
    ear = house.porter.ear

    def pause_and_resume(payload: bytes) -> None:
        ear.client.pause_reading()
        ear.client.resume_reading()

    ear.on = pause_and_resume
    writer.write(b"".join(frame(b"%04d" % i) for i in range(3000)))
    await eventually(lambda: len(ear.messages) == 3000)
    assert [payload for payload, _ in ear.messages] == [b"%04d" % i for i in range(3000)]
    writer.close()


async def test_closing_while_reading_is_paused_still_sees_the_clients_close(house: House) -> None:
    async with connect(house.url) as client:
        ear = house.porter.ear
        ear.client.pause_reading()
        ear.client.close(1012, "restart")
        with pytest.raises(ConnectionClosed):
            await client.recv()
        await eventually(lambda: ear.closed)
        assert ear.closed == [(1012, "restart", True)]


async def test_an_exception_of_the_listener_closes_that_connection_only(house: House) -> None:
    async with connect(house.url) as healthy, connect(house.url) as broken:
        house.porter.ears[1].on = fail
        await broken.send("x")
        with pytest.raises(ConnectionClosedError) as caught:
            await broken.recv()
        assert received(caught.value)[0] == 1011
        await healthy.send("x")
        assert await healthy.recv() == "x"
        assert [code for code, _, _ in house.porter.ears[1].closed] == [1011]


async def test_an_exception_while_attaching_closes_with_1011(house: House) -> None:
    house.porter.on_attach = fail
    async with connect(house.url) as client:
        with pytest.raises(ConnectionClosedError) as caught:
            await client.recv()
        assert received(caught.value)[0] == 1011


async def test_a_message_that_is_never_finished_ends_at_its_deadline(house: House) -> None:
    reader, writer = await upgraded(house)
    started = house.entrance.commons.messages
    writer.write(frame(b"hello")[:-1])
    await eventually(lambda: len(started))
    house.pass_time(29)
    writer.write(frame(b"hello")[-1:] + b"\x81")
    assert await reader.readexactly(7) == b"\x81\x05hello"
    assert len(started) == 1
    house.pass_time(29)  # the next message has its own thirty seconds
    house.pass_time(2)
    assert await close_code(reader) == 1008
    writer.close()


async def test_time_does_not_count_against_a_client_that_we_do_not_read(house: House) -> None:
    reader, writer = await upgraded(house)
    writer.write(frame(b"hello")[:-1])
    await eventually(lambda: len(house.entrance.commons.messages))
    client = house.porter.ear.client
    client.pause_reading()
    house.pass_time(100)
    client.resume_reading()
    house.pass_time(29)
    writer.write(frame(b"hello")[-1:])
    assert await reader.readexactly(7) == b"\x81\x05hello"
    writer.close()


async def test_the_newest_over_the_budget_for_unfinished_messages_gets_1013(house: House) -> None:
    budget = house.entrance.commons.budget
    budget.limit = 2500
    part = frame(b"x" * 5000, 2)[:1008]
    first, second, third = [await upgraded(house) for _ in range(3)]
    for _, writer in (first, second):
        writer.write(part)
    await eventually(lambda: budget.held == 2000)
    third[1].write(part)
    assert await close_code(third[0]) == 1013
    assert budget.held == 2000
    first[1].write(frame(b"x" * 5000, 2)[1008:])
    assert len(await first[0].readexactly(5004)) == 5004
    assert budget.held == 1000
    for _, writer in (first, second, third):
        writer.close()
    await eventually(lambda: budget.held == 0)


async def test_a_client_that_does_not_read_congests_and_relieves(house: House) -> None:
    reader, writer = await upgraded(house)
    ear = house.porter.ear
    chunk = ear.client.encode(b"x" * 65536, text=False)
    written = 0
    while not ear.congestion:
        ear.client.write(chunk)
        written += len(chunk)
        await asyncio.sleep(0)
    assert ear.congestion == [True]
    assert ear.client.buffered() > 0
    ear.client.ping()  # not written: the client does not even take what came before
    await reader.readexactly(written)
    await eventually(lambda: ear.congestion == [True, False])
    assert ear.client.buffered() == 0
    writer.close()


@pytest.mark.parametrize("bits", [10, 15])
async def test_compressed_messages_travel_both_ways(house: House, bits) -> None:
    from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

    house.porter.terms = Terms(compression=True)
    offer = ClientPerMessageDeflateFactory(server_max_window_bits=bits)
    async with connect(house.url, extensions=[offer], compression=None) as client:
        assert extensions(client).startswith("permessage-deflate")
        for message in ("x" * 10, "x" * 100_000, "x" * (1 << 20), b"y" * 5000):
            await client.send(message)
            assert await client.recv() == message
        await client.send("x" * ((1 << 20) + 1))
        with pytest.raises(ConnectionClosedError) as caught:
            await client.recv()
        assert received(caught.value)[0] == 1009


async def test_compression_is_off_unless_the_terms_say_so(house: House) -> None:
    async with connect(house.url) as client:
        assert extensions(client) == ""


async def deflating(house: House):
    house.porter.terms = Terms(compression=True)
    reader, writer = await house.raw()
    offer = b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    writer.write(UPGRADE[:-2] + offer)
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def test_a_deflate_bomb_is_refused_without_being_inflated(house: House) -> None:
    squeeze = zlib.compressobj(wbits=-15)
    bomb = squeeze.compress(bytes(256 << 20)) + squeeze.flush(zlib.Z_SYNC_FLUSH)
    reader, writer = await deflating(house)
    writer.write(frame(bomb[: 1 << 20][:-4], 2, rsv=4))
    assert await close_code(reader) == 1009
    assert house.porter.ear.messages == []
    writer.close()


async def test_garbage_instead_of_a_deflate_stream_is_a_protocol_error(house: House) -> None:
    reader, writer = await deflating(house)
    writer.write(frame(b"\xff\xff\xff\xff", 2, rsv=4))
    assert await close_code(reader) in {1002, 1007}
    writer.close()


async def test_empty_deflate_streams_one_after_the_other_do_no_harm(house: House) -> None:
    reader, writer = await deflating(house)
    writer.write(frame(b"\x01\x00\x00\xff\xff" * 100_000, 2, rsv=4))
    assert await close_code(reader) in {1002, 1007, 1009}
    writer.close()


async def test_clients_share_encoded_bytes_when_their_encoding_is_equal(house: House) -> None:
    async with connect(house.url, compression=None), connect(house.url, compression=None):
        one, two = (ear.client for ear in house.porter.ears)
        assert one.encoding == two.encoding
        house.porter.terms = Terms(compression=True)
        async with connect(house.url):
            assert house.porter.ear.client.encoding != one.encoding


async def test_nothing_of_a_connection_stays_when_it_is_gone(house: House) -> None:
    clients = []
    for _ in range(3):
        async with connect(house.url) as client:
            await client.send("x")
            await client.recv()
        clients.append(weakref.ref(house.porter.ears.pop().client))
    await eventually(lambda: not house.porter.inside)
    await asyncio.sleep(0)
    gc.collect()
    assert [client() for client in clients] == [None] * 3
    assert len(asyncio.all_tasks()) == 1
