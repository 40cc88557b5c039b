"""File descriptors: some are kept for php-fpm, the broker, health probes and the log.

A process that has none left can neither reach php-fpm nor be asked for its health, so clients
are turned away before that. The kernel gives out the lowest free number: a new connection whose
number is high is the sign that few are left, and costs nothing to see.
"""

import asyncio
import resource
from typing import Final

import structlog

from gateway.logs import Throttle

log = structlog.get_logger(__name__)

FROM_CLIENTS: Final = 8
"""Of so many descriptors one is kept from clients."""
FROM_CALLERS: Final = 16
"""The same for callers of the internal listener: when clients are turned away, they are not."""

_MOST_RAISED: Final = 1 << 20
_MOST_KEPT: Final = 4096


def raise_limit() -> None:
    """Use as many as the machine allows: the soft limit is often 1024, for old programs' sake."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_RAISED if hard == resource.RLIM_INFINITY else min(hard, _MOST_RAISED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Descriptors:
    """The limit of this process, as it is when this is made, and what of it is kept.

    One of `share` descriptors is, at most 4096 / `share`.
    """

    __slots__ = ("_first_kept", "_short", "limit")

    def __init__(self, share: int = FROM_CLIENTS) -> None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.limit = _MOST_RAISED if soft == resource.RLIM_INFINITY else soft
        self._first_kept = self.limit - min(self.limit, _MOST_KEPT) // share
        self._short = Throttle()

    def suffice(self, transport: asyncio.BaseTransport) -> bool:
        """Whether this new connection has none of those that are kept; the log is told if not."""
        sock = transport.get_extra_info("socket")
        return sock is None or self.permit(sock.fileno())

    def permit(self, number: int) -> bool:
        """The same by the connection's number."""
        if number < self._first_kept:
            return True
        if self._short.allows():
            log.warning(
                "file descriptors are short",
                limit=self.limit,
                cure="raise the limit of open files (LimitNOFILE, ulimit -n)",
                **self._short.taken(),
            )
        return False
