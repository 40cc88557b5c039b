"""The guard, chunk by chunk and byte by byte."""

import os
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.transports.guard import FrameError, FrameGuard

MASK = b"\x11\x22\x33\x44"


def mask(payload: bytes, key: bytes = MASK) -> bytes:
    return bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


def frame(
    payload: bytes = b"", opcode: int = 1, *, fin: bool = True, rsv: int = 0, masked: bool = True
) -> bytes:
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    flag = 0x80 if masked else 0
    size = len(payload)
    if size < 126:
        head = bytes((first, flag | size))
    elif size < 65536:
        head = struct.pack("!BBH", first, flag | 126, size)
    else:
        head = struct.pack("!BBQ", first, flag | 127, size)
    return head + (MASK + mask(payload) if masked else payload)


def outcome(wire: bytes, chunks: list[bytes], **options) -> tuple[int, int] | None:
    """Code of the error and how many bytes were good before its frame; None without error."""
    guard = FrameGuard(options.pop("max_message", 1000), **options)
    done = 0
    for chunk in chunks:
        try:
            guard.feed(chunk)
        except FrameError as error:
            return error.code, done + error.offset
        done += len(chunk)
    return None


def bytewise(wire: bytes) -> list[bytes]:
    return [wire[i : i + 1] for i in range(len(wire))]


def both(wire: bytes, **options) -> int | None:
    whole = outcome(wire, [wire], **options)
    single = outcome(wire, bytewise(wire), **options)
    assert (whole and whole[0]) == (single and single[0])
    return whole[0] if whole else None


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 1000])
@pytest.mark.parametrize("opcode", [1, 2])
def test_a_masked_message_within_the_limit_is_good(size, opcode) -> None:
    assert both(frame(b"x" * size, opcode) * 3) is None


@pytest.mark.parametrize("limit", [0, 1, 100, 125, 126, 70_000])
def test_the_limit_is_inclusive(limit) -> None:
    assert both(frame(b"x" * limit), max_message=limit) is None
    assert both(frame(b"x" * (limit + 1)), max_message=limit) == 1009


def test_the_limit_counts_across_fragments() -> None:
    parts = [frame(b"x" * 60, fin=False), frame(b"x" * 40, 0, fin=False)]
    assert both(b"".join([*parts, frame(b"", 0)]), max_message=100) is None
    assert both(b"".join([*parts, frame(b"x", 0)]), max_message=100) == 1009


def test_a_terabyte_is_refused_on_its_length_alone() -> None:
    head = struct.pack("!BBQ", 0x82, 0x80 | 127, 1 << 40)
    assert outcome(head, [head]) == (1009, 0)
    assert outcome(head, bytewise(head)) == (1009, 9)


@pytest.mark.parametrize(
    "wire",
    [
        frame(b"x", masked=False),
        frame(b"", 9, masked=False),
        frame(b"x", rsv=4),
        frame(b"x", rsv=2),
        frame(b"x", rsv=1),
        *[frame(b"x", opcode) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)],
        frame(b"x", 9, fin=False),
        frame(b"x", 8, fin=False),
        frame(b"x" * 126, 9),
        frame(b"x" * 126, 8),
        frame(b"x", 0),
        frame(b"x", 0, fin=False),
        frame(b"x", fin=False) + frame(b"y"),
        frame(b"", fin=False) + frame(b"", 2),
        frame(b"x", fin=False) + frame(b"y", 2, fin=False),
        struct.pack("!BBH", 0x81, 0x80 | 126, 5) + MASK,
        struct.pack("!BBQ", 0x81, 0x80 | 127, 500) + MASK,
    ],
)
def test_what_the_protocol_forbids_is_1002(wire) -> None:
    assert both(wire) == 1002
    assert both(frame(b"before") + wire) == 1002


def test_an_error_says_where_the_good_bytes_end() -> None:
    good = frame(b"one") + frame(b"two")
    wire = good + frame(b"x", 3)
    assert outcome(wire, [wire]) == (1002, len(good))


def test_rsv1_is_allowed_on_the_first_frame_of_a_message_when_compression_is_on() -> None:
    assert both(frame(b"x", rsv=4), compressed=True) is None
    assert both(frame(b"x", fin=False, rsv=4) + frame(b"x", 0), compressed=True) is None
    assert both(frame(b"x", fin=False, rsv=4) + frame(b"x", 0, rsv=4), compressed=True) == 1002
    assert both(frame(b"x", 9, rsv=4), compressed=True) == 1002


def test_control_frames_may_stand_between_fragments() -> None:
    wire = frame(b"a", fin=False) + frame(b"p" * 125, 9) + frame(b"", 10) + frame(b"b", 0)
    assert both(wire) is None


def test_at_most_1024_fragments_make_a_message() -> None:
    first, more, last = frame(b"", fin=False), frame(b"", 0, fin=False), frame(b"", 0)
    assert both(first + more * 1022 + last) is None
    assert both(first + more * 1023 + last) == 1009


def test_nothing_after_a_close_frame_is_judged() -> None:
    for close in (frame(b"", 8), frame(b"\x03\xe8bye", 8)):
        assert both(close + b"\xff" * 50) is None


def test_held_bytes_and_unfinished_are_known_at_every_moment() -> None:
    guard = FrameGuard(1000)
    guard.feed(frame(b"x" * 10, fin=False))
    assert (guard.unfinished, guard.held) == (True, 10)
    guard.feed(frame(b"p" * 100, 9))
    assert (guard.unfinished, guard.held) == (True, 10)
    guard.feed(frame(b"y" * 50, 0)[:-1])
    assert (guard.unfinished, guard.held, guard.ended) == (True, 59, False)
    guard.feed(mask(b"yy", MASK[1:] + MASK[:1])[:1])
    assert (guard.unfinished, guard.held, guard.ended) == (False, 0, True)
    guard.feed(b"\x81")
    assert guard.unfinished


def test_bad_utf8_in_a_fragmented_text_is_seen_at_the_first_bad_byte() -> None:
    text = "κόσμε".encode()
    for cut in range(len(text)):
        bad = frame(text[:cut] + b"\xff", fin=False)
        assert both(bad) == 1007
        assert both(frame(text[:cut], fin=False) + frame(b"\xff", 0, fin=False)) == 1007
        assert both(frame(text[:cut], fin=False) + frame(text[cut:], 0)) is None


@st.composite
def traffic(draw) -> bytes:
    """Mostly valid traffic, now and then a broken frame."""
    wire = b""
    for _ in range(draw(st.integers(1, 6))):
        wire += frame(
            draw(st.binary(max_size=200)),
            draw(st.sampled_from([0, 0, 1, 2, 2, 9, 10, 8, 3])),
            fin=draw(st.booleans()),
            rsv=draw(st.sampled_from([0, 0, 0, 0, 0, 4])),
            masked=draw(st.sampled_from([True] * 9 + [False])),
        )
    return wire


@settings(max_examples=300)
@given(traffic(), st.data())
def test_chunk_borders_never_change_the_verdict(wire, data) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    chunks = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True) if a != b]
    whole = outcome(wire, [wire], max_message=300)
    split = outcome(wire, chunks, max_message=300)
    single = outcome(wire, bytewise(wire), max_message=300)
    assert (whole and whole[0]) == (split and split[0]) == (single and single[0])


@given(st.binary(max_size=500))
def test_arbitrary_bytes_raise_nothing_but_frame_errors(wire) -> None:
    outcome(wire, [wire])
    outcome(wire, bytewise(wire), compressed=True)


def test_a_long_random_stream_of_whole_messages_is_good() -> None:
    wire = b"".join(frame(os.urandom(size), 2) for size in range(0, 900, 7))
    for step in (1, 2, 3, 5, 7, 11, 1000):
        chunks = [wire[i : i + step] for i in range(0, len(wire), step)]
        assert outcome(wire, chunks) is None
