"""The sockets that are listened on: bound before anything is started, handed to whoever serves.

Binding comes first so that a port that is taken is said before a worker exists, and so that many
workers can share what was bound once.
"""

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path
from typing import Final

from gateway.config.units import Listen
from gateway.errors import ConfigurationError

BACKLOG: Final = 4096


def bind(address: Listen) -> socket.socket:
    """A listening socket, non-blocking; ConfigurationError names what is wrong and the cure."""
    try:
        return _bind_unix(address.path) if address.is_unix else _bind_tcp(address)
    except OSError as exc:
        raise ConfigurationError(f"cannot listen on {address}: {_explain(exc, address)}") from exc


def release(listener: socket.socket) -> None:
    """Close the socket and, for a unix socket, take its file away."""
    path = listener.getsockname() if listener.family == socket.AF_UNIX else ""
    listener.close()
    if path:
        with contextlib.suppress(OSError):
            Path(path).unlink()


def _bind_tcp(address: Listen) -> socket.socket:
    found = socket.getaddrinfo(
        address.host or None,
        address.port,
        type=socket.SOCK_STREAM,
        flags=socket.AI_PASSIVE,
    )
    family, kind, protocol, _, place = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(place)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


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
