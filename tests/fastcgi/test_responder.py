import pytest

from fastcgi import params, records
from fastcgi.errors import RemoteProtocolError
from fastcgi.records import RecordType, Role, encode_record
from fastcgi.responder import (
    Request,
    RequestReader,
    encode_answer,
    encode_end,
    encode_stderr,
    encode_stdout,
)

BLOCK = params.encode([("SCRIPT_FILENAME", "/srv/ws.php"), ("RAW", b"\xff")])
PARAMS = {"SCRIPT_FILENAME": "/srv/ws.php", "RAW": "\udcff"}


def test_a_request_is_complete_with_the_end_of_stdin():
    data = records.encode_request((BLOCK,), b"{}", keep=False)
    reader = RequestReader()
    assert reader.feed(data[:-1]) == []
    assert reader.feed(data[-1:]) == [Request(PARAMS, b"{}", keep=False, id=1)]


def test_requests_follow_each_other_on_a_kept_connection():
    data = records.encode_request((BLOCK,), b"{}", keep=True)
    assert RequestReader().feed(data + data) == [Request(PARAMS, b"{}", keep=True, id=1)] * 2


def test_requests_of_different_ids_may_be_interleaved():
    streams = [
        [
            encode_record(RecordType.BEGIN_REQUEST, b"\0\1\1" + bytes(5), request_id=request_id),
            encode_record(RecordType.PARAMS, BLOCK, request_id=request_id),
            encode_record(RecordType.PARAMS, request_id=request_id),
            encode_record(RecordType.STDIN, b"%d" % request_id, request_id=request_id),
            encode_record(RecordType.STDIN, request_id=request_id),
        ]
        for request_id in (1, 2)
    ]
    data = b"".join(record for pair in zip(*streams, strict=True) for record in pair)
    assert RequestReader().feed(data) == [
        Request(PARAMS, b"1", keep=True, id=1),
        Request(PARAMS, b"2", keep=True, id=2),
    ]


def test_an_aborted_request_is_forgotten():
    data = records.encode_request((BLOCK,), b"{}", keep=True)
    reader = RequestReader()
    reader.feed(data[:-8] + encode_record(RecordType.ABORT_REQUEST))
    assert reader.feed(data) == [Request(PARAMS, b"{}", keep=True, id=1)]


BEGIN = records.encode_begin(keep=True)
PARAMS_END = encode_record(RecordType.PARAMS)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (encode_record(RecordType.PARAMS, BLOCK), 1),
        (encode_record(RecordType.GET_VALUES, request_id=0), 0),
        (BEGIN + BEGIN, 1),
        (encode_record(RecordType.BEGIN_REQUEST, b"\0\1" + bytes(6), request_id=0), 0),
        (encode_record(RecordType.BEGIN_REQUEST, b"\0\1\1"), 3),
        (encode_record(RecordType.BEGIN_REQUEST, b"\0\2" + bytes(6)), Role.AUTHORIZER),
        (BEGIN + encode_record(RecordType.STDIN, b"{}"), RecordType.STDIN),
        (BEGIN + PARAMS_END + PARAMS_END, RecordType.PARAMS),
        (BEGIN + encode_record(RecordType.STDOUT, b"{}"), RecordType.STDOUT),
        (BEGIN + encode_record(200), 200),
        (BEGIN + encode_record(RecordType.PARAMS, BLOCK[:-1]), None),
    ],
)
def test_what_a_web_server_must_not_send_is_refused(data: bytes, found: int | None):
    with pytest.raises(RemoteProtocolError) as caught:
        RequestReader().feed(data)
    assert caught.value.found == found


def test_an_answer_is_stderr_stdout_and_end_request():
    assert encode_answer(b"out", b"err", app_status=258, padding_size=1, request_id=2) == (
        b"\x01\x07\x00\x02\x00\x03\x01\x00err\x00"
        b"\x01\x06\x00\x02\x00\x03\x01\x00out\x00"
        b"\x01\x03\x00\x02\x00\x08\x01\x00\x00\x00\x01\x02\x00\x00\x00\x00\x00"
    )


def test_an_answer_has_no_empty_records():
    assert encode_answer(b"") == encode_end()


@pytest.mark.parametrize("encode", [encode_stdout, encode_stderr])
def test_a_long_stream_takes_several_records(encode):
    found = records.decode_records(bytearray(encode(b"x" * 65536, padding_size=255)))
    assert [(len(record.content), record.padding_size) for record in found] == [
        (65535, 255),
        (1, 255),
    ]
