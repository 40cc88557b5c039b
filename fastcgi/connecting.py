"""Opening a socket to php-fpm by hand.

A unix socket whose backlog is full answers a non-blocking connect with EAGAIN at once, which
asyncio's selector loop (3.11 to 3.13) takes for success. So we connect ourselves and try again
with back-off. Every error of the system leaves here as a ConnectError.
"""

import asyncio
import contextlib
import errno
import os
import socket
from typing import Final

from .address import Address, TcpAddress, UnixAddress
from .errors import AddressForbiddenError, ConnectError, UpstreamUnavailableError

_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.05
# A peer that vanished without a word ends its connection after 30 + 3 * 10 s. Unix peers cannot.
_KEEPALIVE: Final = (
    (socket.TCP_KEEPIDLE, 30),
    (socket.TCP_KEEPINTVL, 10),
    (socket.TCP_KEEPCNT, 3),
)


def connect_unix(address: UnixAddress) -> socket.socket | None:
    """An open, non-blocking socket, or None while the backlog is full."""
    with _translated(address):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.connect(address.path)
        except BlockingIOError:
            sock.close()
            return None
        except BaseException:
            sock.close()
            raise
        return sock


async def open_socket(address: Address, timeout: float) -> socket.socket:  # noqa: ASYNC109 - what ran out is told by name, not by TimeoutError
    """An open, non-blocking socket within `timeout` seconds, or a ConnectError."""
    reason = "connecting took too long"
    try:
        async with asyncio.timeout(timeout):
            if isinstance(address, TcpAddress):
                return await _connect_tcp(address)
            reason = "its backlog is full"
            return await _wait_for_room(address)
    except TimeoutError as error:
        raise UpstreamUnavailableError(str(address), reason) from error


async def _wait_for_room(address: UnixAddress) -> socket.socket:
    pause = _FIRST_PAUSE
    while (sock := connect_unix(address)) is None:
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
    return sock


async def _connect_tcp(address: TcpAddress) -> socket.socket:
    loop = asyncio.get_running_loop()
    with _translated(address):
        candidates = await _resolve(loop, address)
    last: ConnectError | None = None
    for family, where in candidates:
        try:
            with _translated(address):
                return await _connect_to(loop, family, where)
        except ConnectError as error:
            last = error
    raise last or UpstreamUnavailableError(str(address), "the name has no address")


async def _connect_to(
    loop: asyncio.AbstractEventLoop, family: int, where: tuple[str, int]
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        await loop.sock_connect(sock, where)
        _tune(sock)
    except BaseException:
        sock.close()
        raise
    return sock


async def _resolve(
    loop: asyncio.AbstractEventLoop, address: TcpAddress
) -> list[tuple[int, tuple[str, int]]]:
    """Family and place of each address of the host; a literal one needs no resolver's thread."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            socket.inet_pton(family, address.host)
            return [(family, (address.host, address.port))]
    found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    return [(family, (str(where[0]), address.port)) for family, _, _, _, where in found]


def _tune(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


class _translated(contextlib.AbstractContextManager[None]):  # noqa: N801 - used like a function
    """Turns the system's errors inside its block into ConnectErrors."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, TimeoutError):
            raise translate(self._address, error) from error


def translate(address: Address, error: OSError) -> ConnectError:
    """The ConnectError that tells `error`: forbidden, or not available at the moment."""
    reason = error.strerror or type(error).__name__
    if error.errno in (errno.EACCES, errno.EPERM):
        return AddressForbiddenError(str(address), reason)
    if error.errno is not None and error.errno in errno.errorcode:
        reason = os.strerror(error.errno)
    return UpstreamUnavailableError(str(address), reason)
