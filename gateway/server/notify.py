"""What systemd is told (sd_notify): ready, reloading, stopping, alive.

One datagram to the socket that NOTIFY_SOCKET names; without systemd nothing is sent. A
notification that cannot be delivered is dropped: it must never stop a gateway.
"""

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from typing import Final

_MICROSECONDS: Final = 1_000_000


class Notifier:
    """The way to the service manager, read once from the environment."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # "@" stands for the NUL byte with which an abstract socket's name begins.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog_interval = _watchdog_interval(environ)

    def ready(self, status: str = "") -> None:
        """The listeners are open; after a reload, that it has ended."""
        self._send("READY=1", *_status(status))

    def reloading(self) -> None:
        """A reload has begun; `ready` ends it."""
        # Type=notify-reload wants the time of CLOCK_MONOTONIC; Type=notify ignores it.
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self, status: str = "") -> None:
        """The drain has begun."""
        self._send("STOPPING=1", *_status(status))

    def alive(self) -> None:
        """The event loop turns; to be sent every `watchdog_interval`."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel,
        ):
            channel.setblocking(False)
            channel.connect(self._address)
            channel.send("\n".join(lines).encode())


def _status(status: str) -> tuple[str, ...]:
    return (f"STATUS={status}",) if status else ()


def _watchdog_interval(environ: Mapping[str, str]) -> float | None:
    """Half of what systemd allows between two signs of life, None when it wants none."""
    with contextlib.suppress(ValueError):
        allowed = int(environ.get("WATCHDOG_USEC", ""))
        process = environ.get("WATCHDOG_PID", "")
        if allowed > 0 and (not process or int(process) == os.getpid()):
            return allowed / _MICROSECONDS / 2
    return None
