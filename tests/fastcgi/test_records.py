import pytest

from fastcgi import params, records
from fastcgi.errors import LocalProtocolError, RemoteProtocolError
from fastcgi.records import Header, Record, RecordType

BLOCK = params.encode([("A", "1")])


def test_a_header_is_eight_bytes_in_network_order():
    packed = records.pack_header(6, 0x1234, request_id=0x0102, padding_size=7, reserved=9)
    assert packed == b"\x01\x06\x01\x02\x12\x34\x07\x09"
    assert records.unpack_header(b"??" + packed, 2) == Header(1, 6, 0x0102, 0x1234, 7)


def test_begin_request_asks_for_a_responder():
    assert records.encode_begin(keep=True) == bytes.fromhex("0101000100080000 0001010000000000")
    assert records.encode_begin(keep=False) == bytes.fromhex("0101000100080000 0001000000000000")
    assert records.encode_begin(keep=True) == records.BEGIN_KEEP
    assert records.encode_begin(keep=False) == records.BEGIN_CLOSE


def test_a_request_is_these_bytes():
    assert records.encode_request((BLOCK, BLOCK), b"{}", keep=True) == bytes.fromhex(
        "0101000100080000 0001010000000000"  # BEGIN_REQUEST
        "0104000100080000 01014131 01014131"  # PARAMS, both blocks behind one header
        "0104000100000000"
        "0105000100020000 7b7d"  # STDIN
        "0105000100000000"
    )


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("blocks", [(), (b"",), (BLOCK,), (BLOCK, b"", BLOCK)])
@pytest.mark.parametrize("body", [b"", b"{}"])
def test_what_follows_begin_request_can_be_sent_later(
    keep: bool, blocks: tuple[bytes, ...], body: bytes
):
    begin = records.encode_begin(keep=keep)
    whole = records.encode_request(blocks, body, keep=keep)
    assert whole == begin + records.encode_after_begin(blocks, body)


def test_a_request_without_params_and_body_has_only_the_ends_of_its_streams():
    found = records.decode_records(bytearray(records.encode_after_begin((), b"")))
    assert found == [Record(RecordType.PARAMS, 1, b""), Record(RecordType.STDIN, 1, b"")]


def test_blocks_too_large_for_one_record_are_cut_between_pairs_also_across_blocks():
    first = params.encode([("A", "v" * 40000), ("B", "v" * 20000)])
    second = params.encode([("C", "v" * 5000), ("D", "v" * 30000)])
    found = records.decode_records(bytearray(records.encode_after_begin((first, second), b"")))
    sizes = [len(record.content) for record in found if record.type == RecordType.PARAMS]
    assert sizes == [40006 + 20006 + 5006, 30006, 0]


def test_a_block_with_a_pair_too_large_is_refused():
    huge = b"\x01\x80\x01\x00\x00N" + b"v" * 65536
    with pytest.raises(LocalProtocolError):
        records.encode_request((huge,), b"", keep=True)


def test_records_are_decoded_and_the_rest_stays():
    first = records.encode_record(RecordType.STDOUT, b"abc", padding_size=5)
    second = records.encode_record(200, b"", request_id=7)
    buffer = bytearray(first + second + first[:-1])
    assert records.decode_records(buffer) == [Record(6, 1, b"abc", 5), Record(200, 7, b"")]
    assert buffer == first[:-1]
    buffer += first[-1:]
    assert records.decode_records(buffer) == [Record(6, 1, b"abc", 5)]
    assert not buffer


def test_another_version_cannot_be_decoded():
    with pytest.raises(RemoteProtocolError, match="does not speak FastCGI; version: 72"):
        records.decode_records(bytearray(b"HTTP/1.1"))
