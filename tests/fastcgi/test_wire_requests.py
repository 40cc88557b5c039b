"""What a request must look like on the wire; the numbers are those of the other wire cases."""

import pytest

from fastcgi import params
from fastcgi.errors import (
    Executed,
    LocalProtocolError,
)
from fastcgi.records import RecordType
from fastcgi.responder import (
    Request,
)
from tests.fastcgi.wire import ANSWER, RESPONSE, read, request


class TestWriteSide:
    def test_52_a_response_before_the_request_was_taken_is_valid(self):
        """The reader knows nothing of STDIN; whoever sends it drops the connection."""
        assert read(ANSWER) == RESPONSE

    @pytest.mark.parametrize("name_size", [1, 127, 128, 300])
    @pytest.mark.parametrize("value_size", [0, 1, 127, 128, 300])
    def test_55_lengths_take_one_byte_up_to_127_and_four_from_128(
        self, name_size: int, value_size: int
    ):
        block = params.encode([("N" * name_size, "v" * value_size)])
        lengths = [1 if size < 128 else 4 for size in (name_size, value_size)]
        assert len(block) == sum(lengths) + name_size + value_size
        assert block[0] >> 7 == (name_size >= 128)
        assert params.decode(block) == [(b"N" * name_size, b"v" * value_size)]
        assert request(block)[0][0].params == {"N" * name_size: "v" * value_size}

    @pytest.mark.parametrize("total", [65534, 65535, 65536, 65537, 200_000])
    def test_56_parameters_of_any_total_fit_records_at_pair_boundaries(self, total: int):
        blocks = [
            params.encode([(f"N{number:04}", "v" * 993)]) for number in range(total // 1000 - 1)
        ]
        blocks.append(params.encode([("LAST", "v" * (total - sum(map(len, blocks)) - 9))]))
        assert sum(map(len, blocks)) == total
        (sent,), raw = request(*blocks)
        assert sent.params == {
            name.decode(): value.decode()
            for block in blocks
            for name, value in params.decode(block)
        }
        contents = [record.content for record in raw if record.type == RecordType.PARAMS]
        assert b"".join(contents) == b"".join(blocks)
        assert contents[-1] == b""
        assert len(contents) == 2 if total <= 65535 else len(contents) > 2
        for content in contents:
            params.decode(content)

    @pytest.mark.parametrize("value_size", [65527, 65528, 100_000, 2**20])
    def test_57_a_pair_too_large_for_one_record_is_refused(self, value_size: int):
        with pytest.raises(LocalProtocolError) as caught:
            params.encode([("A", "1"), ("NAME", "v" * value_size)])
        assert caught.value.executed is Executed.NEVER

    def test_57_the_largest_pair_is_sent(self):
        block = params.encode([("NAME", "v" * (65535 - 5 - 4))])
        assert len(block) == 65535
        assert request(block)[0][0].params == {"NAME": "v" * (65535 - 5 - 4)}

    @pytest.mark.parametrize("size", [0, 1, 65528, 65529, 65535, 65536, 2**20])
    @pytest.mark.parametrize("keep", [True, False])
    def test_58_bodies_of_any_size_are_split_at_65528(self, size: int, keep: bool):
        body = bytes(range(256)) * (size // 256) + bytes(range(size % 256))
        (sent,), raw = request(params.encode([("A", "1")]), body=body, keep=keep)
        assert sent == Request({"A": "1"}, body, keep, 1)
        sizes = [len(record.content) for record in raw if record.type == RecordType.STDIN]
        assert sizes[-1] == 0
        assert 0 not in sizes[:-1]
        assert all(length == 65528 for length in sizes[:-2])
