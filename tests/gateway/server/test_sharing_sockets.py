"""Listening sockets that many processes share, and those that the service manager opens."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config.units import Listen, listen
from gateway.errors import ConfigurationError
from gateway.server import listeners
from gateway.server.listeners import bind, bind_again, file_of, release
from tests.phpfpm import free_port


@pytest.fixture
def handed_over(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket as systemd hands it over."""
    opened = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setattr(listeners, "_FIRST_HANDED_OVER", opened.fileno())
    yield opened
    listeners._kept.discard(opened.fileno())
    opened.close()


def address_of(opened: socket.socket) -> Listen:
    return listen(f"127.0.0.1:{opened.getsockname()[1]}")


def test_a_shared_address_is_bound_as_often_as_there_are_workers() -> None:
    port = free_port()
    first = bind(listen(f"127.0.0.1:{port}"), shared=True)
    others = [bind_again(first) for _ in range(2)]

    assert {each.getsockname() for each in (first, *others)} == {("127.0.0.1", port)}
    assert len({each.fileno() for each in (first, *others)}) == 3
    for each in (first, *others):
        release(each)


def test_a_port_of_somebody_else_is_not_shared_with_it() -> None:
    port = free_port()
    first = bind(listen(f"127.0.0.1:{port}"), shared=True)

    with pytest.raises(ConfigurationError, match="the address is taken"):
        bind(listen(f"127.0.0.1:{port}"), shared=True)
    release(first)


def test_a_unix_socket_is_one_queue_for_all(tmp_path: Path) -> None:
    first = bind(listen(f"unix:{tmp_path}/s"), shared=True)
    second = bind_again(first)

    assert file_of(second) is not None
    second.close()
    release(first)
    assert not (tmp_path / "s").exists()


def test_a_socket_that_was_handed_over_is_taken_instead_of_a_new_one(handed_over) -> None:
    mine = bind(address_of(handed_over), shared=True)

    assert mine.fileno() == handed_over.fileno()
    assert not os.get_inheritable(mine.fileno())
    again = bind_again(mine)
    assert again.getsockname() == mine.getsockname()
    again.close()
    mine.detach()


def test_a_socket_of_another_address_is_left_alone(handed_over) -> None:
    other = bind(listen(f"127.0.0.1:{free_port()}"))

    assert other.fileno() != handed_over.fileno()
    assert handed_over.getsockname()
    release(other)


def test_sockets_for_another_process_are_not_ours(handed_over, monkeypatch) -> None:
    monkeypatch.setenv("LISTEN_PID", "1")

    with pytest.raises(ConfigurationError, match="the address is taken"):
        bind(address_of(handed_over))


def test_the_file_of_a_socket_that_was_handed_over_stays(tmp_path: Path, monkeypatch) -> None:
    opened = socket.socket(socket.AF_UNIX)
    opened.bind(str(tmp_path / "s"))
    opened.listen()
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setattr(listeners, "_FIRST_HANDED_OVER", opened.fileno())
    mine = bind(listen(f"unix:{tmp_path}/s"))
    assert mine.fileno() == opened.detach()

    release(mine)

    assert (tmp_path / "s").exists()
