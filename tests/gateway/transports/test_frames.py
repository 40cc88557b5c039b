"""Frames to clients, judged by two parsers that are not ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import PayloadTooBig
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame
from websockets.streams import StreamReader

from gateway.transports import deflate
from gateway.transports.frames import COMPRESSED, Opcode, encode, encode_close, is_sendable


def parse(data: bytes, extensions=()) -> list[Frame]:
    stream = StreamReader()
    stream.feed_data(data)
    frames = []
    while stream.buffer:
        parser = Frame.parse(stream.read_exact, mask=False, max_size=None, extensions=extensions)
        try:
            next(parser)
        except StopIteration as done:
            frames.append(done.value)
        else:
            raise PayloadTooBig(len(data), 0)
    return frames


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 100_000])
@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
def test_every_form_of_the_length_is_read_back_by_an_independent_parser(size, opcode) -> None:
    payload = b"x" * size

    (frame,) = parse(encode(payload, opcode))

    assert (frame.opcode, frame.data, frame.fin, frame.rsv1) == (opcode, payload, True, False)


@given(st.lists(st.tuples(st.sampled_from([Opcode.TEXT, Opcode.BINARY]), st.binary(max_size=300))))
def test_frames_written_one_after_the_other_are_read_back_in_order(messages) -> None:
    wire = b"".join(encode(payload, opcode) for opcode, payload in messages)

    assert [(frame.opcode, frame.data) for frame in parse(wire)] == messages


@pytest.mark.parametrize("code", [1004, 1006, 1015, 999, 1016, 2999, 5000, 0])
def test_a_code_that_must_not_be_sent_is_refused(code) -> None:
    assert not is_sendable(code)
    with pytest.raises(ValueError, match=str(code)):
        encode_close(code)


def test_a_long_reason_is_cut_between_characters() -> None:
    (frame,) = parse(encode_close(1000, "é" * 100))

    assert bytes(frame.data[2:]).decode() == "é" * 61


def test_no_code_is_an_empty_close_frame() -> None:
    assert encode_close(1005) == b"\x88\x00"


@given(st.binary(min_size=1, max_size=2000), st.sampled_from([9, 12, 15]))
def test_compressed_messages_are_inflated_by_an_independent_peer(payload, bits) -> None:
    peer = PerMessageDeflate(
        remote_no_context_takeover=True,
        local_no_context_takeover=False,
        remote_max_window_bits=bits,
        local_max_window_bits=15,
    )
    wire = encode(deflate.compress(payload, bits), Opcode.BINARY | COMPRESSED)

    for _ in range(2):  # the same bytes again: no context is kept between messages
        (frame,) = parse(wire, [peer])
        assert frame.data == payload


@pytest.mark.parametrize(
    "offer",
    [
        "",
        "permessage-deflate; foo=1",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=x",
        "permessage-deflate; server_max_window_bits",
        "x-permessage-deflate",
        "permessage-deflate-frame",
        "permessage-deflatefoo; server_max_window_bits=10",
        "bbf-usp-protocol, permessage-bzip2",
    ],
)
def test_an_offer_that_cannot_be_accepted_leaves_compression_off(offer) -> None:
    assert deflate.negotiate(offer) == (0, "")


@pytest.mark.parametrize(
    ("offer", "bits"),
    [
        ("permessage-deflate", 15),
        ("permessage-deflate; client_max_window_bits", 15),
        ("permessage-deflate; server_max_window_bits=10; client_max_window_bits=12", 10),
        ("permessage-deflate; server_max_window_bits=7, permessage-deflate", 15),
        (", ".join(["permessage-deflate; foo"] * 49 + ["permessage-deflate"]), 15),
    ],
)
def test_the_first_acceptable_offer_is_taken_without_context_takeover(offer, bits) -> None:
    found, answer = deflate.negotiate(offer)

    assert found == bits
    assert "server_no_context_takeover" in answer
