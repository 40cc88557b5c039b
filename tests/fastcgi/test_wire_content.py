"""What a script may write, from the application's usual head to raw output in its place.

The numbers name the cases in discussions and reports; those that need a socket are tested with the
connection and the pool. "Drop" means that the reader is closed and the connection never reused.
"""

import pytest

from fastcgi.errors import (
    MalformedResponseError,
    ResponseTooLargeError,
)
from fastcgi.head import MAX_HEAD, MAX_HEADERS, HeadCache
from fastcgi.protocol import ResponseReader
from fastcgi.records import RecordType, encode_record
from fastcgi.responder import (
    encode_answer,
    encode_end,
    encode_stderr,
    encode_stdout,
)
from fastcgi.response import MAX_STDERR, Response
from tests.fastcgi.wire import (
    ANSWER,
    HEAD,
    HEADERS,
    RESPONSE,
    STDOUT,
    dropped,
    read,
    read_stdout,
    started,
)


class TestContent:
    def test_30_stderr_comes_before_between_and_after_stdout(self):
        for at in range(len(STDOUT) + 1):
            answer = b"".join(
                (
                    encode_stderr(b"one "),
                    encode_stdout(STDOUT[:at]),
                    encode_stderr(b"two "),
                    encode_stdout(STDOUT[at:]),
                    encode_stderr(b"three"),
                    encode_end(),
                )
            )
            assert read(answer) == RESPONSE._replace(stderr=b"one two three")

    def test_31_a_megabyte_of_stderr_is_capped_and_the_response_still_read(self):
        noise = b"PHP Warning: x\n" * 70_000
        reader = started()
        answer = encode_answer(STDOUT, noise)
        response = None
        for start in range(0, len(answer), 10_000):
            response = reader.feed(answer[start : start + 10_000])
            assert reader.bytes_held < MAX_STDERR + 65535 + 263 + 10_000
        assert response == RESPONSE._replace(
            stderr=noise[:MAX_STDERR], stderr_discarded=len(noise) - MAX_STDERR
        )

    def test_31_stderr_up_to_its_limit_is_kept_whole(self):
        response = read(encode_answer(STDOUT, b"x" * MAX_STDERR))
        assert response == RESPONSE._replace(stderr=b"x" * MAX_STDERR)

    def test_32_control_characters_of_stderr_are_handed_on_unchanged(self):
        """Escaping them is the business of whoever writes the log."""
        noise = bytes(range(256))
        assert read(encode_answer(STDOUT, noise)) == RESPONSE._replace(stderr=noise)

    @pytest.mark.parametrize("end", [b"\r\n", b"\n"])
    def test_33_the_head_may_be_split_anywhere(self, end: bytes):
        stdout = STDOUT.replace(b"\r\n", end)
        for at in range(len(stdout) + 1):
            for padding in (0, 1):
                records_ = encode_stdout(stdout[:at], padding_size=padding) + encode_stdout(
                    stdout[at:]
                )
                assert read(records_ + encode_end()) == RESPONSE

    @pytest.mark.parametrize("first", [b"\r\n", b"\n"])
    @pytest.mark.parametrize("second", [b"\r\n", b"\n"])
    @pytest.mark.parametrize("blank", [b"\r\n", b"\n"])
    def test_34_lines_end_with_lf_or_crlf_also_mixed(
        self, first: bytes, second: bytes, blank: bytes
    ):
        response = read_stdout(b"A: 1" + first + b"B: 2" + second + blank + b"\r\n\r\nbody")
        assert response == Response(200, (("a", "1"), ("b", "2")), b"\r\n\r\nbody")

    @pytest.mark.parametrize("bad", [b"\r", b"\0", b"\x01", b"\x0b", b"\x1f", b"\x7f"])
    @pytest.mark.parametrize("where", [b"A%b: 1", b"A: %b1", b"A: 1%b1", b"%bA: 1"])
    @pytest.mark.parametrize("end", [b"\r\n", b"\n"])
    def test_35_a_control_character_in_the_head_is_malformed(
        self, bad: bytes, where: bytes, end: bytes
    ):
        stdout = b"Ok: 1\r\n" + where % bad + end + end
        assert dropped(encode_answer(stdout), MalformedResponseError).found == 2

    @pytest.mark.parametrize("bad", [b"\r\r\n", b"\0\n", b"\0\r\n", b"\r\0\n"])
    def test_35_a_control_character_before_the_line_end_is_malformed(self, bad: bytes):
        dropped(encode_answer(b"A: 1" + bad + b"\r\n"), MalformedResponseError)

    def test_35_a_tab_may_stand_in_a_value(self):
        assert read_stdout(b"A:\tone\ttwo\t\r\n\r\n").headers == (("a", "one\ttwo"),)

    @pytest.mark.parametrize("stdout", [b"A: 1", b"A: 1\r\n", b"A: 1\nB", b"Fatal error", b"\r"])
    def test_36_a_head_without_a_blank_line_is_malformed(self, stdout: bytes):
        error = dropped(encode_answer(stdout, b"why"), MalformedResponseError)
        assert error.stderr == b"why"

    @pytest.mark.parametrize("blank", [b"\r\n", b"\n"])
    @pytest.mark.parametrize("body", [b"", b"hello", b"\r\nhello", b"\n", b"A: 1\r\n\r\n"])
    def test_37_a_head_without_headers_is_status_200(self, blank: bytes, body: bytes):
        """php-fpm sends it for a script that has removed all its headers."""
        reader = started()
        for _ in range(2):
            assert reader.feed(encode_answer(blank + body)) == Response(200, (), body)
            reader.start()

    def test_38_no_stdout_at_all_is_malformed(self):
        for nothing in (b"", encode_record(RecordType.STDOUT)):
            error = dropped(nothing + encode_end(), MalformedResponseError)
            assert "no response" in str(error)

    @pytest.mark.parametrize(
        "line",
        [
            b"no colon",
            b"A : 1",
            b"A\t: 1",
            b" A: 1",
            b"\tcontinued",
            b" continued: yes",
            b": nameless",
            b"A B: 1",
            b"Gr\xc3\xb6\xc3\x9fe: 1",
            b"<br />",
            b"HTTP/1.1 200 OK",
        ],
    )
    def test_39_a_line_that_is_no_header_is_malformed(self, line: bytes):
        stdout = b"A: 1\r\n" + line + b"\r\n\r\n"
        error = dropped(encode_answer(stdout), MalformedResponseError)
        assert error.found == 2
        assert line.decode("latin-1") not in str(error)

    def test_40_a_head_of_64_kib_passes_and_one_byte_more_does_not(self):
        fitting = b"A: " + b"x" * (MAX_HEAD - 7) + b"\r\n\r\n"
        assert len(fitting) == MAX_HEAD
        assert read_stdout(fitting + b"body").body == b"body"
        error = dropped(encode_answer(b"B" + fitting), MalformedResponseError)
        assert error.found == MAX_HEAD

    def test_40_an_endless_head_is_dropped_without_keeping_more(self):
        reader = started()
        chunk = encode_stdout(b"A: 1\r\n" * 100)
        for _ in range(MAX_HEAD // 600):
            assert reader.feed(chunk) is None
            assert reader.bytes_held < MAX_HEAD
        with pytest.raises(MalformedResponseError):
            reader.feed(chunk)

    def test_40_3000_headers_are_too_many(self):
        assert len(read_stdout(b"A: 1\r\n" * MAX_HEADERS + b"\r\n").headers) == MAX_HEADERS
        for count in (MAX_HEADERS + 1, 3000):
            stdout = b"A: 1\r\n" * count + b"\r\n"
            error = dropped(encode_answer(stdout), MalformedResponseError)
            assert error.found == MAX_HEADERS

    @pytest.mark.parametrize(
        ("value", "status"),
        [
            (b"200", 200),
            (b" 200 OK", 200),
            (b" 404 Not Found", 404),
            (b"  500  ", 500),
            (b"\t422\tUnprocessable Content", 422),
            (b" 204 ", 204),
            (b" 599 M\xfcde", 599),
            (b"302 ", 302),
        ],
    )
    def test_42_a_status_is_three_digits_and_any_reason(self, value: bytes, status: int):
        response = read_stdout(b"sTATUS:" + value + b"\r\nA: 1\r\n\r\n")
        assert response.status == status
        assert response.headers == (("a", "1"),)

    @pytest.mark.parametrize(
        "value",
        [b"", b"OK", b"20", b"2000", b"200OK", b"-200", b"+200", b"0200", b"2 00", b"\xb2\xb2\xb2"],
    )
    def test_42_anything_else_is_no_status(self, value: bytes):
        stdout = b"A: 1\r\nStatus: " + value + b"\r\n\r\n"
        assert dropped(encode_answer(stdout), MalformedResponseError).found == 2

    @pytest.mark.parametrize("value", [b"099", b"100", b"103", b"199", b"600", b"999"])
    def test_42_a_status_that_ends_no_exchange_is_malformed(self, value: bytes):
        dropped(encode_answer(b"Status: " + value + b"\r\n\r\n"), MalformedResponseError)

    @pytest.mark.parametrize("second", [b"Status: 200", b"Status: 500", b"status: 404 Not Found"])
    def test_43_two_statuses_are_malformed(self, second: bytes):
        stdout = b"Status: 200\r\n" + second + b"\r\n\r\n"
        assert dropped(encode_answer(stdout), MalformedResponseError).found == 2

    def test_44_location_without_a_status_is_302(self):
        response = read_stdout(b"A: 1\r\nLocation: /there\r\n\r\n")
        assert response.status == 302
        assert response.headers == (("a", "1"), ("location", "/there"))

    def test_44_location_with_a_status_leaves_it(self):
        assert read_stdout(b"Location: /there\r\nStatus: 201 Created\r\n\r\n").status == 201

    @pytest.mark.parametrize(
        "line", [b"HTTP/1.1 404 Not Found", b"HTTP/1.0 404", b"HTTP/2 404", b"HTTP/1.1  404 x: y"]
    )
    def test_45_an_http_status_line_comes_first_or_not_at_all(self, line: bytes):
        """php-fpm writes it with cgi.rfc2616_headers=1."""
        response = read_stdout(line + b"\r\nA: 1\r\n\r\nbody")
        assert response == Response(404, (("a", "1"),), b"body")

    @pytest.mark.parametrize(
        "head",
        [
            b"HTTP/1.1 200 OK\r\nStatus: 200",
            b"HTTP/1.1 OK",
            b"HTTP/1.1",
            b"HTTP/1.1200",
            b"HTTP/1.1 101 Switching Protocols",
            b"HTTP 200",
        ],
    )
    def test_45_a_false_or_second_status_line_is_malformed(self, head: bytes):
        dropped(encode_answer(head + b"\r\n\r\n"), MalformedResponseError)

    def test_46_a_true_content_length_is_taken_out(self):
        head = b"Content-Length: 4\r\nA: 1\r\n\r\n"
        reader = started()
        for _ in range(2):
            assert reader.feed(encode_answer(head + b"body")) == Response(
                200, (("a", "1"),), b"body"
            )
            reader.start()

    @pytest.mark.parametrize("length", [0, 3, 5, 10**17])
    def test_46_a_false_content_length_is_malformed(self, length: int):
        stdout = b"Content-Length: %d\r\n\r\nbody" % length
        assert dropped(encode_answer(stdout), MalformedResponseError).found == 4

    @pytest.mark.parametrize(
        "head",
        [
            b"Content-Length: 4\r\nContent-Length: 4",
            b"Content-Length: -4",
            b"Content-Length: four",
            b"Content-Length:",
            b"Content-Length: 4, 4",
            b"Content-Length: 9999999999999999999999",
        ],
    )
    def test_46_a_content_length_that_is_no_number_is_malformed(self, head: bytes):
        dropped(encode_answer(head + b"\r\n\r\nbody"), MalformedResponseError)

    def test_47_what_concerns_one_connection_is_dropped(self):
        """RFC 9110, 7.6.1."""
        head = (
            b"Transfer-Encoding: chunked\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n"
            b"Upgrade: websocket\r\nTrailer: A\r\nTE: trailers\r\nProxy-Connection: close\r\n"
        )
        assert read_stdout(head + b"A: 1\r\n\r\n4\r\nbody") == Response(
            200, (("a", "1"),), b"4\r\nbody"
        )

    @pytest.mark.parametrize("status", [204, 304])
    @pytest.mark.parametrize("length", [b"", b"Content-Length: 17\r\n"])
    def test_48_the_body_of_204_and_304_is_drained(self, status: int, length: bytes):
        answer = encode_answer(b"Status: %d\r\n%b\r\nbody" % (status, length))
        reader = started()
        for _ in range(2):
            assert reader.feed(answer) == Response(status, (), b"")
            assert reader.reusable
            reader.start()

    def test_48_draining_has_the_same_limit(self):
        with pytest.raises(ResponseTooLargeError):
            read(encode_answer(b"Status: 204\r\n\r\nbody"), limit=3)

    @pytest.mark.parametrize("limit", [0, 1, 100, 70_000])
    def test_49_a_body_at_the_limit_passes_and_one_byte_more_does_not(self, limit: int):
        reader = ResponseReader(max_response=limit, heads=HeadCache())
        for _ in range(2):
            reader.start()
            response = reader.feed(encode_answer(HEAD + b"x" * limit))
            assert response is not None
            assert len(response.body) == limit
        reader.start()
        with pytest.raises(ResponseTooLargeError) as caught:
            reader.feed(encode_answer(HEAD + b"x" * (limit + 1)))
        assert caught.value.limit == limit
        assert not reader.reusable

    def test_49_too_large_a_body_is_dropped_before_it_ends(self):
        reader = started(limit=1000)
        with pytest.raises(ResponseTooLargeError):
            reader.feed(encode_stdout(HEAD + b"x" * 1001))

    def test_50_a_body_may_hold_any_bytes_also_records(self):
        body = bytes(range(256)) + ANSWER + encode_end() + b"\r\n\r\n" + bytes(range(256))
        answer = encode_answer(HEAD + body)
        assert read(answer) == Response(200, HEADERS, body)
        for at in range(1, len(answer)):
            assert read(answer[:at], answer[at:]) == Response(200, HEADERS, body)
