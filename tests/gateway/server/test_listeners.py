"""Sockets bound before anything starts, and what is said when they cannot be."""

import os
import socket
from pathlib import Path

import pytest

from gateway.config.model import Config
from gateway.config.units import Listen, listen
from gateway.errors import ConfigurationError
from gateway.server.listeners import bind, file_of, push_base, release, remove
from gateway.server.reload import fixed_changes
from gateway.server.run import run
from tests.phpfpm import free_port


def problem(address: Listen) -> str:
    with pytest.raises(ConfigurationError) as caught:
        bind(address)
    return str(caught.value)


def test_a_port_that_is_taken_is_said_with_the_cure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        assert problem(listen(f"127.0.0.1:{port}")) == (
            f"cannot listen on 127.0.0.1:{port}: the address is taken; stop the other server or "
            "choose another one"
        )


def test_an_address_of_another_machine() -> None:
    assert "does not have that address" in problem(listen("192.0.2.1:8080"))


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    assert "the folder of the socket does not exist" in problem(listen(f"unix:{tmp_path}/no/x"))


def test_a_file_in_the_place_of_the_socket_is_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "precious"
    file.write_text("data")

    assert "is no socket" in problem(listen(f"unix:{file}"))
    assert file.read_text() == "data"


def test_the_socket_of_a_gateway_that_is_no_more_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()

    release(bind(listen(f"unix:{path}")))
    assert not path.exists()


def test_the_socket_of_a_server_that_lives_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    alive = bind(listen(f"unix:{path}"))

    assert "the address is taken" in problem(listen(f"unix:{path}"))
    assert path.exists()
    release(alive)


def test_the_file_of_a_socket_goes_though_its_server_has_closed_it(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listener = bind(listen(f"unix:{path}"))
    file = file_of(listener)
    listener.close()

    release(listener)
    remove(file)
    assert not path.exists()


def test_the_file_of_the_gateway_that_took_over_stays(tmp_path: Path) -> None:
    """A rolling restart on a unix socket: the old one ends after the new one has begun."""
    path = tmp_path / "s"
    old = bind(listen(f"unix:{path}"))
    file = file_of(old)
    old.close()
    # The file system may give the number of a file that is gone to the next one.
    path.rename(tmp_path / "kept")
    new = bind(listen(f"unix:{path}"))

    remove(file)
    assert path.exists()
    release(new)


def test_ipv6_stands_beside_ipv4_on_one_port() -> None:
    port = free_port()
    sockets = [bind(listen(f"0.0.0.0:{port}")), bind(listen(f"[::]:{port}"))]
    for one in sockets:
        release(one)


def test_what_was_bound_before_a_failure_is_released(tmp_path: Path) -> None:
    path = tmp_path / "s"
    config = Config.model_validate(
        {"listen": [f"unix:{path}", f"unix:{tmp_path}/no/x"], "routes": []}
    )

    with pytest.raises(ConfigurationError):
        run(config)
    assert not path.exists()


def test_a_certificate_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("nonsense")
    config = Config.model_validate(
        {
            "listen": f"unix:{tmp_path}/s",
            "internal": {"listen": f"unix:{tmp_path}/i"},
            "tls": {"certificate": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")},
        },
        context={"folder": tmp_path},
    )

    with pytest.raises(ConfigurationError, match=r"cert\.pem"):
        run(config)


@pytest.mark.parametrize(
    ("address", "base"),
    [
        ("127.0.0.1:8081", "http://127.0.0.1:8081"),
        ("0.0.0.0:8081", "http://127.0.0.1:8081"),
        ("[::]:8081", "http://[::1]:8081"),
        ("[::1]:8081", "http://[::1]:8081"),
        ("10.0.0.5:8081", "http://10.0.0.5:8081"),
        ("unix:/run/x", "http://localhost"),
    ],
)
def test_where_php_reaches_the_internal_listener(address: str, base: str) -> None:
    assert push_base(listen(address)) == base


def test_what_a_reload_cannot_change_is_named() -> None:
    before = Config.model_validate({})
    after = Config.model_validate(
        {"listen": "127.0.0.1:9", "internal": {"listen": "127.0.0.1:10"}, "log": {"level": "debug"}}
    )

    assert fixed_changes(before, after) == ["listen", "internal.listen"]
    assert fixed_changes(before, before) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may listen on every port")
def test_a_low_port_needs_a_capability() -> None:
    assert "CAP_NET_BIND_SERVICE" in problem(listen("127.0.0.1:81"))
