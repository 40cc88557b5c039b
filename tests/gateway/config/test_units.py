"""Durations, sizes, rates, switches and addresses as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import units
from gateway.config.units import Listen, Rate


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("30s", 30),
        ("5m", 300),
        ("1h", 3600),
        ("1.5s", 1.5),
        ("0", 0),
        ("2d", 172800),
    ],
)
def test_a_duration_is_seconds(text: str, seconds: float) -> None:
    assert units.duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "30", "-1s", "1 s", "s", "1w", "1e3s", "٣s", "off", None, True, []]
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration such as 250ms, 30s or 5m, got"):
        units.duration(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("512", 512),
        ("64KiB", 65536),
        ("1MiB", 1 << 20),
        ("1.5GiB", 3 << 29),
        ("1kB", 1000),
        ("7b", 7),
        (9, 9),
    ],
)
def test_a_size_is_bytes(text: object, count: int) -> None:
    assert units.size(text) == count


@pytest.mark.parametrize("text", ["", "-1", "1 chicken", "KiB", "1TiB", None, True])
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="expected a size"):
        units.size(text)


@given(st.integers(min_value=1, max_value=10**12))
def test_a_written_duration_reads_back(milliseconds: int) -> None:
    seconds = milliseconds % 10**9 / 1000

    assert units.duration(units.written_duration(seconds)) == pytest.approx(seconds)


@given(st.integers(min_value=0, max_value=10**15 - 1))
def test_a_written_size_reads_back(count: int) -> None:
    assert units.size(units.written_size(count)) == count


def test_a_rate_knows_its_average() -> None:
    assert units.rate("120/m") == Rate(120, 60.0)
    assert units.rate("120/m").per_second == 2.0
    assert str(units.rate("50/s")) == "50/s"


@pytest.mark.parametrize("text", ["50", "0/s", "50/d", "50/ s", "1.5/s", ""])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a rate"):
        units.rate(text)


@pytest.mark.parametrize(
    ("text", "value"), [("on", True), ("Yes", True), ("off", False), ("false", False), (True, True)]
)
def test_a_switch_is_on_or_off(text: object, value: bool) -> None:
    assert units.switch(text) is value


def test_off_lifts_a_limit() -> None:
    read = units.or_off(units.number(1))

    assert read("off") is None
    assert read("3") == 3
    with pytest.raises(ValueError, match='expected a number or off, got "x"'):
        read("x")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.0.0.0:8080", Listen("0.0.0.0", 8080)),
        ("[::]:8080", Listen("::", 8080)),
        ("localhost:0", Listen("localhost", 0)),
        ("php-fpm:9000", Listen("php-fpm", 9000)),
        ("unix:/run/x.sock", Listen(path="/run/x.sock")),
    ],
)
def test_an_address_is_host_and_port_or_a_path(text: str, value: Listen) -> None:
    assert units.listen(text) == value
    assert str(value) == text


@pytest.mark.parametrize(
    "text",
    [
        "8080",
        ":8080",
        "a:b",
        "a:65536",
        "a:99999999999",
        "::1:80",
        "[::x]:1",
        "unix:",
        "unix:x",
        "unix:/" + "x" * 120,
        "a b:1",
        None,
        "a:٣",
    ],
)
def test_what_is_no_address_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"expected|longer than"):
        units.listen(text)


@pytest.mark.parametrize(
    ("text", "private"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("unix:/x", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
        ("gateway:1", False),
    ],
)
def test_private_is_what_only_this_machine_reaches(text: str, private: bool) -> None:
    assert units.listen(text).is_private is private


def test_only_what_may_have_several_lines_has_them() -> None:
    assert units.lines("select 1\r\n\t+ 1\n") == "select 1\r\n\t+ 1\n"
    for read, text in ((units.text, "a\nb"), (units.lines, "a\x1bb"), (units.lines, [])):
        with pytest.raises(ValueError, match="expected text"):
            read(text)


def test_a_quoted_value_is_short_on_one_line_and_without_credentials() -> None:
    assert units.shown("a\nb") == '"a\\nb"'
    assert len(units.shown("x" * 1000)) < 70
    assert units.shown("redis://user:secret@host") == '"redis://***@host"'
