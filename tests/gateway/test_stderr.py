"""Standard error that is stopped, gone or full: nothing waits for it."""

import fcntl
import os
import socket
from collections.abc import Iterator
from typing import TextIO

import pytest

from gateway.stderr import StandardError


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        yield reading, stream
    os.close(reading)


def fill(descriptor: int) -> int:
    """Write until nothing more fits, without leaving it in another mode."""
    mode = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, mode | os.O_NONBLOCK)
    written = 0
    try:
        while True:
            written += os.write(descriptor, b"x" * 4096)
    except BlockingIOError:
        return written
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, mode)


def test_a_pipe_that_nobody_reads_costs_lines_and_says_how_many(pipe: tuple[int, TextIO]) -> None:
    reading, stream = pipe
    filled = fill(stream.fileno())
    lines = StandardError(stream)
    for number in range(100):
        lines.write(f"{number}\n")
    assert lines.lost == 100
    assert not fcntl.fcntl(stream.fileno(), fcntl.F_GETFL) & os.O_NONBLOCK

    assert len(os.read(reading, filled)) == filled
    lines.write("again\n")

    assert os.read(reading, 100) == b"100 log lines lost\nagain\n"
    assert lines.lost == 0
    lines.close()


def test_a_line_that_fits_only_in_part_is_ended_before_the_next(pipe: tuple[int, TextIO]) -> None:
    reading, stream = pipe
    lines = StandardError(stream)
    lines.write("x" * 100_000 + "\n")
    first = os.read(reading, 200_000)
    assert set(first) == {ord("x")}

    lines.write("next\n")

    assert os.read(reading, 100) == b"\n1 log lines lost\nnext\n"
    lines.close()


def test_a_pipe_that_cannot_be_opened_anew_is_asked_before_each_write(
    pipe: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after the user was changed: the pipe is another one's."""

    def refuse(*_arguments: object) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "open", refuse)
    reading, stream = pipe
    lines = StandardError(stream)
    lines.write("x" * 20_000 + "\n")
    assert len(os.read(reading, 100_000)) == 20_001
    fill(stream.fileno())

    lines.write("lost\n")

    assert lines.lost == 1


def test_a_pipe_without_a_reader_is_no_error() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        lines = StandardError(stream)
        os.close(reading)
        lines.write("nobody\n")
        assert lines.lost == 1
        lines.close()


def test_a_socket_that_nobody_reads_costs_lines() -> None:
    """As the one that systemd gives its services."""
    ours, theirs = socket.socketpair()
    with ours, theirs, os.fdopen(os.dup(ours.fileno()), "w") as stream:
        lines = StandardError(stream)
        for _ in range(10_000):
            lines.write("x" * 100 + "\n")
        assert lines.lost
        while theirs.recv(1 << 20, socket.MSG_DONTWAIT).count(b"x") == 1 << 20:
            pass
        lines.close()


def test_a_full_disk_is_no_error() -> None:
    with open("/dev/full", "w") as stream:  # noqa: PTH123 - no file of ours
        lines = StandardError(stream)
        lines.write("lost\n")
        assert lines.lost == 1
