import pytest

from fastcgi import params
from fastcgi.errors import LocalProtocolError, RemoteProtocolError


def test_a_pair_is_two_lengths_a_name_and_a_value():
    assert params.encode([("NAME", "value")]) == b"\x04\x05NAMEvalue"


def test_a_length_from_128_on_takes_four_bytes_with_the_first_bit_set():
    assert params.encode([("N", "v" * 128)]) == b"\x01\x80\x00\x00\x80N" + b"v" * 128


def test_pairs_keep_their_order_and_may_repeat():
    block = params.encode([("B", "1"), (b"A", b"2"), ("B", b"3")])
    assert params.decode(block) == [(b"B", b"1"), (b"A", b"2"), (b"B", b"3")]


def test_no_pairs_are_an_empty_block():
    assert params.encode([]) == b""
    assert params.decode(b"") == []
    assert list(params.split(b"")) == []


def test_text_becomes_utf8_and_escaped_bytes_become_themselves():
    assert params.decode(params.encode([("Ä", "ö\udcff")])) == [("Ä".encode(), b"\xc3\xb6\xff")]


@pytest.mark.parametrize("pair", [("A\0", "1"), ("A", "1\0"), (b"\0", b""), (b"A", b"\0")])
def test_nul_is_refused_because_php_would_end_the_value_there(
    pair: tuple[bytes | str, bytes | str],
):
    with pytest.raises(LocalProtocolError, match="NUL"):
        params.encode([pair])


def test_text_without_bytes_is_refused():
    with pytest.raises(LocalProtocolError):
        params.encode([("A", "\ud800")])


def test_a_refusal_does_not_repeat_the_value():
    with pytest.raises(LocalProtocolError) as caught:
        params.encode([("PASSWORD", "secret\0")])
    assert "secret" not in str(caught.value)
    with pytest.raises(LocalProtocolError) as caught:
        params.encode([("PASSWORD", "secret" * 20000)])
    assert "secret" not in str(caught.value)


def test_a_name_too_large_for_one_record_is_refused():
    with pytest.raises(LocalProtocolError, match="70000"):
        params.encode([("N" * 70000, "")])


def test_a_block_that_fits_one_record_stays_whole():
    block = params.encode([("A", "v" * 32000), ("B", "v" * (65535 - 32000 - 12))])
    assert len(block) == 65535
    assert list(params.split(block)) == [block]


def test_a_larger_block_is_cut_between_pairs():
    pairs = [params.encode([(f"N{number}", "v" * 20000)]) for number in range(7)]
    block = b"".join(pairs)
    assert list(params.split(block)) == [
        b"".join(pairs[:3]),
        b"".join(pairs[3:6]),
        pairs[6],
    ]


@pytest.mark.parametrize("neighbour", [b"", params.encode([("A", "1")])])
def test_a_block_with_a_pair_too_large_is_not_split(neighbour: bytes):
    huge = b"\x01\x80\x01\x00\x00N" + b"v" * 65536
    with pytest.raises(LocalProtocolError, match="65542"):
        list(params.split(neighbour + huge + neighbour))


@pytest.mark.parametrize("size", range(1, 11))
def test_a_block_that_ends_inside_a_pair_is_refused(size: int):
    cut = params.encode([("NAME", "value")])[:size]
    with pytest.raises(LocalProtocolError):
        list(params.split(cut))
    with pytest.raises(RemoteProtocolError):
        params.decode(cut)


@pytest.mark.parametrize("size", range(1, 135))
def test_a_block_that_ends_inside_a_long_length_or_value_is_refused(size: int):
    cut = params.encode([("N" * 128, "")])[: size - 2]
    if cut:
        with pytest.raises(RemoteProtocolError):
            params.decode(cut)


def test_a_length_of_31_bits_reads_nothing_beyond_the_block():
    with pytest.raises(RemoteProtocolError):
        params.decode(b"\xff\xff\xff\xff\xff\xff\xff\xffname")
