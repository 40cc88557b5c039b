"""The hub's wire: whatever way the bytes are cut, the frames are the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.brokers import hub_wire
from gateway.brokers.hub_messages import Failed, pack_rules, unpack_rules
from gateway.brokers.hub_wire import (
    Frame,
    FrameTooLargeError,
    Kind,
    Op,
    Splitter,
    WireError,
    encode,
)
from gateway.channels.broker import ChannelRules
from gateway.errors import (
    BrokerUnavailableError,
    ChannelFullError,
    ChannelNameError,
    ChannelNotFoundError,
    NodeGoneError,
    TooManyChannelsError,
)

frames = st.builds(
    Frame,
    st.sampled_from(Kind),
    st.sampled_from(Op),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=200),
)


def encoded(frame: Frame) -> bytes:
    return encode(frame.kind, frame.op, frame.number, frame.body)


def test_a_frame_is_these_bytes() -> None:
    assert encode(Kind.CALL, Op.PUBLISH, 7, b"ab") == b"\0\0\0\x08\x01\x05\0\0\0\x07ab"


@given(st.lists(frames, max_size=20), st.lists(st.integers(1, 50), min_size=1, max_size=50))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(sent, cuts) -> None:
    stream = b"".join(map(encoded, sent))
    splitter = Splitter()
    received: list[Frame] = []
    start, turn = 0, 0
    while start < len(stream):
        size = cuts[turn % len(cuts)]
        received += splitter.feed(stream[start : start + size])
        start, turn = start + size, turn + 1

    assert received == sent


def test_frames_fed_one_byte_at_a_time_come_out_with_their_last_byte() -> None:
    frame = Frame(Kind.TELL, Op.BEAT, 0, b"body")
    splitter = Splitter()
    data = encoded(frame)

    for byte in data[:-1]:
        assert splitter.feed(bytes([byte])) == []
    assert splitter.feed(data[-1:]) == [frame]


@given(st.binary(max_size=300))
def test_any_bytes_are_frames_an_error_or_an_unfinished_frame(data) -> None:
    try:
        for frame in Splitter().feed(data):
            assert encoded(frame) in data
    except WireError:
        pass


@pytest.mark.parametrize(
    "data",
    [
        bytes(10),
        b"\0\0\0\x05" + bytes(6),
        b"\xff\xff\xff\xff" + bytes(6),
        b"\0\0\0\x06\x09\x06\0\0\0\0",
        b"\0\0\0\x06\x01\xff\0\0\0\0",
    ],
    ids=["empty", "too short", "too long", "unknown kind", "unknown operation"],
)
def test_what_can_be_no_frame_is_an_error(data) -> None:
    with pytest.raises(WireError):
        Splitter().feed(data)


def test_a_frame_beyond_the_limit_is_not_made(monkeypatch) -> None:
    monkeypatch.setattr(hub_wire, "LIMIT", 100)
    assert encode(Kind.TELL, Op.BEAT, 0, bytes(94))
    with pytest.raises(FrameTooLargeError) as caught:
        encode(Kind.TELL, Op.BEAT, 0, bytes(95))
    assert caught.value.size == 101


@given(
    st.builds(
        ChannelRules,
        st.booleans(),
        st.none() | st.integers(0, 10**9),
        st.integers(0, 10**6),
        st.floats(0, 10**6),
        st.booleans(),
        st.floats(0, 10**6),
    )
)
def test_rules_travel_unchanged_and_are_one_object(rules) -> None:
    packed = pack_rules(rules)

    assert unpack_rules(packed) == rules
    assert unpack_rules(packed) is unpack_rules(bytes(bytearray(packed)))


@pytest.mark.parametrize(
    "error",
    [
        ChannelNotFoundError("room"),
        ChannelFullError("room", 7),
        ChannelNameError("room", "bad"),
        TooManyChannelsError(9),
        NodeGoneError("nobody"),
        BrokerUnavailableError("away"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_arrive_as_what_they_were(error) -> None:
    arrived = Failed.of(error).exception()

    assert type(arrived) is type(error)
    assert getattr(arrived, "limit", None) == getattr(error, "limit", None)
    assert getattr(arrived, "channel", None) == getattr(error, "channel", None)


def test_an_error_nobody_expects_is_the_hubs_unavailability() -> None:
    arrived = Failed.of(RuntimeError("broken")).exception()

    assert isinstance(arrived, BrokerUnavailableError)
    assert str(arrived) == "broken"
