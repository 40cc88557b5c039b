import pytest

from gateway.channels.publication import BINARY_TYPE, JSON_TYPE, TEXT_TYPE, Kind, kind_of


@pytest.mark.parametrize(
    ("data", "content_type", "kind"),
    [
        (b'{"a":1}', JSON_TYPE, Kind.JSON),
        (b'{"a":1}', "Application/JSON; charset=utf-8", Kind.JSON),
        (b'{"a":1}', TEXT_TYPE, Kind.TEXT),
        (b'{"a":1}', BINARY_TYPE, Kind.BINARY),
        (b"text", "image/png", Kind.BINARY),
        ("größe".encode(), TEXT_TYPE, Kind.TEXT),
        (b"", "", Kind.TEXT),
        (b"\xff", TEXT_TYPE, Kind.BINARY),
        (b'"\xff"', JSON_TYPE, Kind.BINARY),
    ],
)
def test_content_type_and_bytes_decide_the_kind(data, content_type, kind) -> None:
    assert kind_of(data, content_type) is kind


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b'{"a":1}}', b'1,"x":2', b"NaN", b"[" * 100_000, b"\xef\xbb\xbf{}", b'"a\nb"'],
    ids=str,
)
def test_what_is_called_json_but_would_break_a_frame_is_text(data: bytes) -> None:
    assert kind_of(data, JSON_TYPE) is Kind.TEXT
