"""What a group of processes costs, as the kernel counts it, and how one is started and stopped.

CPU comes from `/proc/PID/task/TID/schedstat` (nanoseconds on a core, exact) and the split into
user and system from `/proc/PID/stat` (clock ticks, so only good over many frames). Memory is
what the processes hold themselves, by `smaps_rollup`: anonymous pages and shared memory, by
their share. Pages of files (programs, libraries) are left out: their share changes with every
other process that maps the same library, which is no doing of the one that is measured.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_GRACE: Final = 10.0


class StartError(Exception):
    """A server did not come up; the message carries the end of its log."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU used so far: `total` is exact, `user` and `system` are counted in ticks."""

    total: float
    user: float
    system: float

    def since(self, earlier: "Cpu") -> "Cpu":
        return Cpu(
            self.total - earlier.total, self.user - earlier.user, self.system - earlier.system
        )


def family(root: int) -> list[int]:
    """The process and everything it has started that still lives."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            pid = int(entry.name)
            with contextlib.suppress(OSError, IndexError):
                children.setdefault(int(_stat_fields(pid)[1]), []).append(pid)
    members, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        members.append(pid)
        waiting.extend(children.get(pid, ()))
    return members


def cpu(pids: Iterable[int]) -> Cpu:
    total = user = system = 0.0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0]) / 1e9
        fields = _stat_fields(pid)
        user += int(fields[11]) / _TICKS_PER_SECOND
        system += int(fields[12]) / _TICKS_PER_SECOND
    return Cpu(total, user, system)


def memory(pids: Iterable[int]) -> int:
    """Bytes of the processes' own memory together."""
    kilobytes = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in {"Pss_Anon", "Pss_Shmem"}:
                kilobytes += int(rest.split()[0])
    return kilobytes * 1024


def connections_to(path: Path) -> int:
    """How many accepted or waiting connections the unix socket at `path` has.

    The kernel lists the accepting side of each connection under the listener's path, in state
    03 (connected); the listener itself is in state 01.
    """
    held = 0
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split()
        if len(fields) == 8 and fields[7] == str(path) and fields[5] == "03":
            held += 1
    return held


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A process of its own session with its log in a file; stopped by its process id."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self._command = list(command)
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    @property
    def pids(self) -> list[int]:
        return family(self._process.pid)

    def wait_for_port(self, port: int, seconds: float = 20.0) -> None:
        self._wait_for(("127.0.0.1", port), socket.AF_INET, seconds)

    def wait_for_socket(self, path: Path, seconds: float = 20.0) -> None:
        self._wait_for(str(path), socket.AF_UNIX, seconds)

    def stop(self) -> None:
        """Ends the process and what it started: asked first, killed after ten seconds."""
        members = self.pids
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            for pid in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait()

    def _wait_for(self, address: object, kind: socket.AddressFamily, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            with socket.socket(kind) as probe:
                try:
                    probe.connect(address)  # type: ignore[arg-type]  # the family decides the form
                except OSError as exc:
                    if self._process.poll() is not None or time.monotonic() > deadline:
                        self.stop()
                        raise StartError(self._explain()) from exc
                else:
                    return
            time.sleep(0.05)

    def _explain(self) -> str:
        # Its temporary folder means nothing to whoever reads the report later.
        text = self._log.read_text(errors="replace").replace(f"{self._log.parent}/", "")
        tail = text.strip().splitlines()[-8:]
        return f"did not start: {''.join(tail[-1:])}\n" + "\n".join(tail)


def _stat_fields(pid: int) -> list[str]:
    """The fields of `/proc/PID/stat` from the state on; a name may hold spaces and brackets."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
