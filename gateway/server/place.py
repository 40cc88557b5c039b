"""One worker's place: its listening sockets, and the process that serves them at the moment.

The sockets belong to the place, not to the process: a connection that was waiting for a process
that died is accepted by the next one.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from .listeners import bind_again
from .restarts import Restarts

SPEC: Final = "WSGATE_WORKER"
"""The environment variable that tells a worker's process what it is."""
CANNOT_START: Final = 78
"""The exit status (EX_CONFIG) of a worker that the configuration does not let start."""
_NOT_INHERITED: Final = (
    *("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"),
    *("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"),
)


@dataclass(slots=True, eq=False)
class Place:
    """See the module's docstring. `number` counts from 1."""

    number: int
    public: list[socket.socket]
    internal: list[socket.socket]
    restarts: Restarts = field(default_factory=Restarts)
    process: subprocess.Popen[bytes] | None = None
    node: str = ""
    """The name of the worker's life, once it has said hello."""
    ready: bool = False
    started_at: float = 0.0
    silent: int = 0
    """Beats in a row that were not heard."""
    condemned: bool = False
    """It was silent for too long and is being ended."""
    resting: bool = False
    """Its sockets are closed: nobody shall wait for a process that will not come soon."""

    @property
    def listeners(self) -> tuple[socket.socket, ...]:
        """All of them."""
        return (*self.public, *self.internal)

    @property
    def pid(self) -> int:
        """The process, 0 while there is none."""
        return 0 if self.process is None else self.process.pid

    @property
    def lived(self) -> float:
        """For how long the process has been there."""
        return time.monotonic() - self.started_at

    def start(self, hub: str) -> int:
        """Start a process; a file descriptor that becomes readable when it ends."""
        listeners = {
            "public": [each.fileno() for each in self.public],
            "internal": [each.fileno() for each in self.internal],
        }
        spec = {"number": self.number, "hub": hub, "parent": os.getpid(), **listeners}
        self.process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            command(),
            env=_environment(spec),
            stdin=subprocess.DEVNULL,
            pass_fds=(*listeners["public"], *listeners["internal"]),
        )
        self.started_at = time.monotonic()
        self.silent = 0
        self.node = ""
        self.ready = self.condemned = False
        return os.pidfd_open(self.process.pid)

    def rest(self) -> None:
        """Close the sockets, so that the kernel gives connections to the other places."""
        self.resting = True
        for listener in self.listeners:
            listener.close()

    def wake(self, other: "Place") -> None:
        """Listen again on the addresses of another place. OSError when that cannot be."""
        public = [bind_again(listener) for listener in other.public]
        self.internal = [bind_again(listener) for listener in other.internal]
        self.public = public
        self.resting = False

    def ended(self) -> int:
        """Take leave of a process that has ended: its status, negative for a signal."""
        process, self.process = self.process, None
        self.ready = False
        return 0 if process is None else process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal, if there is one."""
        if self.process is not None:
            self.process.send_signal(number)

    def describe(self) -> dict[str, Any]:
        """The place as the API shows it."""
        state = "starting"
        if self.process is None:
            state = "waiting"
        elif self.condemned:
            state = "silent"
        elif self.ready:
            state = "serving"
        uptime = round(self.lived) if self.process is not None else 0
        return {"worker": self.number, "pid": self.pid, "state": state, "uptime": uptime}


def command() -> list[str]:
    """How a worker's process is started: by the same interpreter, from the same packages."""
    here = Path(__file__).parents[2]
    # Without -P, Python looks for modules in the working directory first, whatever is there.
    unsafe = here == Path.cwd()
    return [sys.executable, *([] if unsafe else ["-P"]), "-m", "gateway.server.child"]


def _environment(spec: Mapping[str, Any]) -> dict[str, str]:
    environ = {name: text for name, text in os.environ.items() if name not in _NOT_INHERITED}
    return {**environ, SPEC: json.dumps(spec)}


def cause_of(status: int) -> dict[str, str | int]:
    """How a process ended, for the log: its status, or the signal that ended it."""
    if status >= 0:
        return {"status": status}
    try:
        return {"signal": signal.Signals(-status).name}
    except ValueError:
        return {"signal": -status}
