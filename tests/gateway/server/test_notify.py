import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.server.notify import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(5)
        yield receiver


def notifier(manager: socket.socket, **environ: str) -> Notifier:
    return Notifier({"NOTIFY_SOCKET": manager.getsockname(), **environ})


def test_each_state_is_one_datagram(manager: socket.socket) -> None:
    systemd = notifier(manager)
    systemd.ready("serving 3 routes")
    systemd.reloading()
    systemd.stopping()
    systemd.alive()

    assert manager.recv(1000) == b"READY=1\nSTATUS=serving 3 routes"
    reloading = manager.recv(1000).split(b"\n")
    assert reloading[0] == b"RELOADING=1"
    assert reloading[1].startswith(b"MONOTONIC_USEC=")
    assert manager.recv(1000) == b"STOPPING=1"
    assert manager.recv(1000) == b"WATCHDOG=1"


def test_an_abstract_socket_is_reached() -> None:
    name = f"wsgate-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{name}")
        receiver.settimeout(5)

        Notifier({"NOTIFY_SOCKET": f"@{name}"}).ready()

        assert receiver.recv(1000) == b"READY=1"


def test_without_systemd_nothing_is_sent_and_nothing_fails() -> None:
    Notifier({}).ready()


def test_a_manager_that_went_away_does_not_stop_the_gateway(tmp_path: Path) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).alive()


def test_the_watchdog_is_fed_twice_as_often_as_it_must(manager: socket.socket) -> None:
    own = str(os.getpid())

    assert notifier(manager, WATCHDOG_USEC="30000000").watchdog_interval == 15.0
    assert notifier(manager, WATCHDOG_USEC="4000000", WATCHDOG_PID=own).watchdog_interval == 2.0


@pytest.mark.parametrize(
    "environ", [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}]
)
def test_no_watchdog_is_fed_that_is_not_ours(
    manager: socket.socket, environ: dict[str, str]
) -> None:
    assert notifier(manager, **environ).watchdog_interval is None
