"""The sockets that are listened on: bound before anything is started, handed to whoever serves.

Binding comes first so that a port that is taken is said before a worker exists, and so that many
workers can share what was bound once.
"""

import contextlib
import errno
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.config.units import Listen
from gateway.errors import ConfigurationError

BACKLOG: Final = 4096

# sd_listen_fds(3): the first descriptor that is handed over, whatever it is.
_FIRST_HANDED_OVER: Final = 3
_kept: Final[set[int]] = set()
"""Sockets that were handed over: theirs is whoever opened them, and so is their file."""


def bind(address: Listen, *, shared: bool = False) -> socket.socket:
    """A listening socket, non-blocking; ConfigurationError names what is wrong and the cure.

    One that the service manager has handed over is taken before a new one is bound. `shared`
    lets `bind_again` follow.
    """
    handed_over = _handed_over(address)
    if handed_over is not None:
        return handed_over
    try:
        if address.is_unix:
            return _bind_unix(address.path)
        if shared:
            # Whoever shares a port does not notice that somebody else's server has it.
            _bind_tcp(address).close()
        return _bind_tcp(address, shared=shared)
    except OSError as exc:
        raise ConfigurationError(f"cannot listen on {address}: {_explain(exc, address)}") from exc


def bind_again(listener: socket.socket) -> socket.socket:
    """One more socket on the same address, with a queue of its own where that is possible.

    It is for TCP sockets that were bound to be shared; of any other it is the same queue.
    """
    if listener.family == socket.AF_UNIX or not listener.getsockopt(
        socket.SOL_SOCKET, socket.SO_REUSEPORT
    ):
        return listener.dup()
    again = socket.socket(listener.family, listener.type, listener.proto)
    try:
        _listen(again, listener.getsockname(), shared=True)
    except OSError:
        again.close()
        raise
    return again


def release(listener: socket.socket) -> None:
    """Close the socket and, for a unix socket, take its file away.

    A server that stops closes its listeners itself: then the file is remembered by `file_of`.
    """
    file = file_of(listener)
    _kept.discard(listener.fileno())
    listener.close()
    remove(file)


@dataclass(frozen=True, slots=True)
class SocketFile:
    """The file of a unix socket, and which one it is: another server may have replaced it."""

    path: str
    inode: int


def file_of(listener: socket.socket) -> SocketFile | None:
    """The file that goes when the socket does; None for TCP, one closed and one handed over."""
    if listener.family != socket.AF_UNIX or listener.fileno() in {-1, *_kept}:
        return None
    path = str(listener.getsockname())
    try:
        return SocketFile(path, os.lstat(path).st_ino)
    except OSError:
        return None


def remove(file: SocketFile | None) -> None:
    """Take the file of a unix socket away, unless it is another server's by now."""
    if file is not None:
        with contextlib.suppress(OSError):
            if os.lstat(file.path).st_ino == file.inode:
                Path(file.path).unlink()


def push_base(internal: Listen) -> str:
    """The internal listener's address as PHP on this machine reaches it."""
    if internal.is_unix:
        return "http://localhost"
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(internal.host)
    if host is None:
        host = f"[{internal.host}]" if ":" in internal.host else internal.host
    return f"http://{host}:{internal.port}"


def _bind_tcp(address: Listen, *, shared: bool = False) -> socket.socket:
    found = socket.getaddrinfo(
        address.host or None,
        address.port,
        type=socket.SOCK_STREAM,
        flags=socket.AI_PASSIVE,
    )
    family, kind, protocol, _, place = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        _listen(listener, place, shared=shared)
    except OSError:
        listener.close()
        raise
    return listener


def _listen(listener: socket.socket, place: Any, *, shared: bool) -> None:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if listener.family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind(place)
    listener.listen(BACKLOG)
    listener.setblocking(False)


def _handed_over(address: Listen) -> socket.socket | None:
    """The listening socket of that address that systemd has opened for us, if it has."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    with contextlib.suppress(ValueError):
        count = int(os.environ.get("LISTEN_FDS", "0"))
        for number in range(_FIRST_HANDED_OVER, _FIRST_HANDED_OVER + count):
            if number in _kept:
                continue
            with contextlib.suppress(OSError):
                listener = socket.socket(fileno=number)
                if _is_at(listener, address):
                    _kept.add(number)
                    os.set_inheritable(number, False)
                    listener.setblocking(False)
                    return listener
                listener.detach()
    return None


def _is_at(listener: socket.socket, address: Listen) -> bool:
    place = listener.getsockname()
    if listener.family == socket.AF_UNIX or address.is_unix:
        return bool(place == address.path)
    hosts = {
        found[4][0]
        for found in socket.getaddrinfo(
            address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    }
    return place[1] == address.port and place[0] in hosts


def _bind_unix(path: str) -> socket.socket:
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _remove_stale(path: str) -> None:
    """Take away the socket file of a gateway that is no more; one that answers is in use."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EEXIST, "the path exists and is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
        else:
            raise OSError(errno.EADDRINUSE, "another server answers there")


def _explain(error: OSError, address: Listen) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "the address is taken; stop the other server or choose another one"
        case errno.EACCES if not address.is_unix:
            return "ports below 1024 need the capability CAP_NET_BIND_SERVICE"
        case errno.EADDRNOTAVAIL:
            return "this machine does not have that address"
        case errno.ENOENT:
            return "the folder of the socket does not exist"
        case _:
            return error.strerror or str(error)
