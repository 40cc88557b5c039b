"""What an application may do to the framing of its response, honest or hostile.

The numbers name the cases in discussions and reports; those that need a socket are tested with the
connection and the pool. "Drop" means that the reader is closed and the connection never reused.
"""

import pytest

from fastcgi.errors import (
    Executed,
    LocalProtocolError,
    RemoteProtocolError,
    UpstreamOverloadedError,
    UpstreamRefusedError,
)
from fastcgi.head import HeadCache
from fastcgi.protocol import ResponseReader
from fastcgi.records import RecordType, encode_record, pack_header
from fastcgi.responder import (
    encode_answer,
    encode_end,
    encode_stderr,
    encode_stdout,
)
from tests.fastcgi.wire import (
    ANSWER,
    HEAD,
    LIMIT,
    RESPONSE,
    STDOUT,
    dropped,
    end_of_input,
    read,
    started,
)


class TestFraming:
    def test_01_a_response_byte_by_byte_is_the_same_as_in_one_chunk(self):
        assert read(ANSWER) == RESPONSE
        assert read(*(ANSWER[at : at + 1] for at in range(len(ANSWER)))) == RESPONSE

    def test_02_every_split_in_two_gives_the_same_response(self):
        answer = encode_answer(STDOUT, b"PHP Notice", padding_size=3)
        expected = RESPONSE._replace(stderr=b"PHP Notice")
        for at in range(1, len(answer)):
            assert read(answer[:at], answer[at:]) == expected

    def test_02_the_split_does_not_matter_when_the_head_is_known(self):
        reader = ResponseReader(max_response=LIMIT, heads=HeadCache())
        for at in range(len(ANSWER)):
            reader.start()
            assert at == 0 or reader.feed(ANSWER[:at]) is None
            assert reader.feed(ANSWER[at:]) == RESPONSE
            assert reader.reusable

    def test_03_many_records_come_in_one_chunk(self):
        each_byte = b"".join(encode_stdout(STDOUT[at : at + 1]) for at in range(len(STDOUT)))
        assert read(each_byte + encode_end()) == RESPONSE

    def test_04_stdout_after_its_empty_record_is_dropped(self):
        data = encode_stdout(STDOUT) + encode_record(RecordType.STDOUT) + encode_stdout(b"more")
        assert dropped(data, RemoteProtocolError).found == RecordType.STDOUT

    def test_04_stderr_may_come_after_the_empty_stdout_record(self):
        ended = encode_stdout(STDOUT) + encode_record(RecordType.STDOUT)
        response = read(ended + encode_stderr(b"late") + encode_end())
        assert response == RESPONSE._replace(stderr=b"late")

    def test_05_end_request_without_an_empty_stdout_record_completes_the_response(self):
        """php-fpm never sends the empty records (php-src, main/fastcgi.c, fcgi_flush)."""
        assert read(encode_stdout(STDOUT) + encode_end()) == RESPONSE

    @pytest.mark.parametrize("padding", [0, 1, 7, 8, 255])
    def test_06_padding_is_skipped_on_every_type(self, padding: int):
        answer = b"".join(
            (
                encode_stderr(b"warning", padding_size=padding),
                encode_stdout(STDOUT, padding_size=padding),
                encode_record(RecordType.STDERR, padding_size=padding),
                encode_record(RecordType.STDOUT, padding_size=padding),
                encode_end(padding_size=padding),
            )
        )
        expected = RESPONSE._replace(stderr=b"warning")
        assert read(answer) == expected
        assert read(*(answer[at : at + 1] for at in range(len(answer)))) == expected

    def test_07_the_largest_record_has_65535_bytes_and_255_of_padding(self):
        body = bytes(range(256)) * 256
        stdout = HEAD + body[: 65535 - len(HEAD)]
        answer = encode_stdout(stdout, padding_size=255) + encode_end()
        response = read(answer)
        assert response is not None
        assert response.body == stdout[len(HEAD) :]
        for at in (7, 8, 9, 65542, 65543, 65544, 65798, 65799):
            assert read(answer[:at], answer[at:]) == response

    def test_08_an_empty_padded_record_is_no_end(self):
        padded = encode_record(RecordType.STDOUT, padding_size=8)
        data = encode_stdout(STDOUT[:60]) + padded + encode_stdout(STDOUT[60:]) + encode_end()
        assert read(padded + data) == RESPONSE

    @pytest.mark.parametrize("cut", range(1, 8))
    def test_09_an_end_inside_a_header_is_no_response(self, cut: int):
        assert end_of_input(ANSWER[:cut]).bytes_seen == cut
        cut_later = len(ANSWER) - 16 + cut
        assert end_of_input(ANSWER[:cut_later]).bytes_seen == cut_later

    def test_10_an_end_inside_content_is_never_complete(self):
        for cut in range(8, len(ANSWER) - 16):
            error = end_of_input(ANSWER[:cut])
            assert error.bytes_seen == cut
            assert error.executed is Executed.MAYBE

    def test_10_what_came_on_stderr_before_the_end_is_kept_for_the_log(self):
        assert end_of_input(encode_stderr(b"Segmentation") + b"\x01\x06").stderr == b"Segmentation"

    def test_11_an_end_inside_the_padding_of_end_request_is_complete_and_dropped(self):
        answer = encode_stdout(STDOUT) + encode_end(padding_size=255)
        for missing in range(1, 256):
            for size in (len(answer), 1):
                reader = started()
                for start in range(0, len(answer) - missing, size):
                    assert (
                        reader.feed(answer[: len(answer) - missing][start : start + size]) is None
                    )
                assert reader.feed_eof() == RESPONSE
                assert not reader.reusable

    def test_12_an_end_between_stdout_and_end_request_is_no_response(self):
        assert end_of_input(encode_stdout(STDOUT)).bytes_seen == len(STDOUT) + 8
        assert end_of_input(encode_stdout(STDOUT) + encode_record(RecordType.STDOUT))

    @pytest.mark.parametrize("start", [b"\0", b"\2", b"H"])
    def test_13_another_version_is_not_fastcgi(self, start: bytes):
        for data in (start + ANSWER[1:], start, encode_stdout(STDOUT) + start):
            error = dropped(data, RemoteProtocolError)
            assert "does not speak FastCGI" in str(error)
            assert error.found == start[0]

    @pytest.mark.parametrize("reserved", [1, 255])
    def test_14_the_reserved_byte_of_a_header_is_ignored(self, reserved: int):
        stdout = pack_header(RecordType.STDOUT, len(STDOUT), reserved=reserved) + STDOUT
        end = pack_header(RecordType.END_REQUEST, 8, reserved=reserved) + bytes(8)
        assert read(stdout + end) == RESPONSE

    def test_15_the_reserved_bytes_of_end_request_are_ignored(self):
        """php-fpm leaves there what was in its memory."""
        assert read(encode_stdout(STDOUT) + encode_end(reserved=b"\xff\x01\x80")) == RESPONSE

    @pytest.mark.parametrize("size", [0, 7, 9, 16])
    def test_16_an_end_request_of_another_length_is_dropped(self, size: int):
        end = encode_record(RecordType.END_REQUEST, bytes(size))
        assert dropped(encode_stdout(STDOUT) + end, RemoteProtocolError).found == size

    @pytest.mark.parametrize("app_status", [1, 255, 2**32 - 1])
    def test_17_the_app_status_is_handed_on(self, app_status: int):
        assert read(encode_answer(STDOUT, app_status=app_status)) == RESPONSE._replace(
            app_status=app_status
        )


class TestIdsAndTypes:
    @pytest.mark.parametrize("request_id", [0, 2, 256, 65535])
    def test_18_a_record_of_another_request_is_dropped(self, request_id: int):
        error = dropped(encode_answer(STDOUT, request_id=request_id), RemoteProtocolError)
        assert error.found == request_id

    @pytest.mark.parametrize("request_id", [0, 2])
    def test_19_the_end_of_another_request_is_dropped(self, request_id: int):
        data = encode_stdout(STDOUT) + encode_end(request_id=request_id)
        assert dropped(data, RemoteProtocolError).found == request_id

    @pytest.mark.parametrize("request_id", [0, 2])
    def test_20_stderr_of_another_request_is_dropped_and_not_kept(self, request_id: int):
        error = dropped(encode_stderr(b"theirs", request_id=request_id), RemoteProtocolError)
        assert error.stderr == b""

    @pytest.mark.parametrize("request_id", [0, 1])
    def test_21_unknown_type_is_dropped_at_its_header(self, request_id: int):
        header = pack_header(RecordType.UNKNOWN_TYPE, 8, request_id=request_id)
        dropped(header, RemoteProtocolError)

    @pytest.mark.parametrize("request_id", [0, 1])
    def test_22_get_values_result_is_dropped_at_its_header(self, request_id: int):
        header = pack_header(RecordType.GET_VALUES_RESULT, 65535, request_id=request_id)
        dropped(header, RemoteProtocolError)

    @pytest.mark.parametrize(
        "record_type",
        [
            RecordType.BEGIN_REQUEST,
            RecordType.ABORT_REQUEST,
            RecordType.PARAMS,
            RecordType.STDIN,
            RecordType.DATA,
            RecordType.GET_VALUES,
        ],
    )
    def test_23_what_only_a_web_server_sends_is_dropped(self, record_type: RecordType):
        error = dropped(pack_header(record_type, 8), RemoteProtocolError)
        assert error.found == record_type

    @pytest.mark.parametrize("record_type", [0, 12, 200, 255])
    def test_24_an_unknown_type_is_dropped(self, record_type: int):
        assert dropped(pack_header(record_type, 0), RemoteProtocolError).found == record_type

    @pytest.mark.parametrize("status", [1, 2])
    def test_25_26_overloaded_before_any_output_proves_that_nothing_ran(self, status: int):
        error = dropped(encode_end(protocol_status=status), UpstreamOverloadedError)
        assert error.protocol_status == status
        assert error.executed is Executed.NEVER

    def test_27_unknown_role_is_a_refusal(self):
        error = dropped(encode_end(protocol_status=3), UpstreamRefusedError)
        assert error.protocol_status == 3
        assert error.executed is Executed.NEVER

    def test_28_an_unknown_protocol_status_is_a_refusal_that_proves_nothing(self):
        error = dropped(encode_end(protocol_status=77), UpstreamRefusedError)
        assert error.protocol_status == 77
        assert error.executed is Executed.MAYBE

    @pytest.mark.parametrize("written", [encode_stdout(b"X"), encode_stdout(STDOUT)])
    def test_29_overloaded_after_output_proves_nothing(self, written: bytes):
        error = dropped(written + encode_end(protocol_status=2), UpstreamOverloadedError)
        assert error.executed is Executed.MAYBE

    def test_29_overloaded_after_stderr_proves_nothing(self):
        data = encode_stderr(b"began") + encode_end(protocol_status=2)
        error = dropped(data, UpstreamOverloadedError)
        assert error.executed is Executed.MAYBE
        assert error.stderr == b"began"


class TestBetweenRequests:
    def test_60_an_end_while_nothing_is_under_way_is_no_error(self):
        reader = ResponseReader(max_response=LIMIT)
        assert reader.feed_eof() is None
        assert not reader.reusable
        assert reader.feed_eof() is None

    def test_61_data_that_nobody_asked_for_is_dropped(self):
        reader = ResponseReader(max_response=LIMIT)
        with pytest.raises(RemoteProtocolError) as caught:
            reader.feed(ANSWER)
        assert caught.value.found == len(ANSWER)
        assert not reader.reusable

    @pytest.mark.parametrize("surplus", [b"\0", b"\1", ANSWER, encode_end()])
    @pytest.mark.parametrize("warm", [True, False])
    def test_61_what_comes_behind_a_response_spoils_the_connection_not_the_response(
        self, surplus: bytes, warm: bool
    ):
        reader = started()
        if warm:
            reader.feed(ANSWER)
            reader.start()
        assert reader.feed(ANSWER + surplus) == RESPONSE
        assert not reader.reusable
        with pytest.raises(LocalProtocolError):
            reader.start()

    def test_68_nothing_is_read_after_an_error(self):
        reader = started()
        with pytest.raises(RemoteProtocolError):
            reader.feed(b"HTTP/1.1 400 Bad Request\r\n")
        with pytest.raises(LocalProtocolError):
            reader.feed(ANSWER)
        assert reader.feed_eof() is None
