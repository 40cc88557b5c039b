"""A real NATS server of a test's own, on a free loopback port, ended by process id."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.phpfpm import free_port

_DEADLINE: Final = 10.0


def find_nats() -> str | None:
    """The server's binary; Debian hides it in sbin."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/sbin", "/usr/local/sbin"]
    return shutil.which("nats-server", path=os.pathsep.join(folders))


class NatsServer:
    """Use it as a context manager. `jetstream`: it keeps streams, on disk.

    `options` are further lines of the configuration; `reload` obeys a change of them.
    """

    def __init__(self, *options: str, jetstream: bool = True) -> None:
        self.options = list(options)
        self.folder = Path(tempfile.mkdtemp(prefix="wsgate-nats-"))
        self.port = free_port()
        self._jetstream = jetstream
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None, "it has not been started"
        return self._process.pid

    def start(self) -> Self:
        """Start it and wait until it greets."""
        binary = find_nats()
        assert binary is not None
        self._process = subprocess.Popen(
            [binary, "-c", str(self._configure())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _DEADLINE
        while not self._greets():
            assert self._process.poll() is None, (self.folder / "nats.log").read_text()
            assert time.monotonic() < deadline, "NATS does not greet"
            time.sleep(0.005)
        return self

    def _configure(self) -> Path:
        config = self.folder / "nats.conf"
        lines = [f"listen: 127.0.0.1:{self.port}", f'log_file: "{self.folder}/nats.log"']
        if self._jetstream:
            lines.append(f'jetstream {{ store_dir: "{self.folder}/streams" }}')
        config.write_text("\n".join([*lines, *self.options]) + "\n")
        return config

    def reload(self) -> None:
        """SIGHUP, with the options as they are now."""
        self._configure()
        os.kill(self.pid, signal.SIGHUP)

    def _greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1.0) as probe:
                return probe.recv(64).startswith(b"INFO ")
        except OSError:
            return False

    def publish(self, subject: str, payload: bytes) -> None:
        """Publish over a connection of its own."""
        with socket.create_connection(("127.0.0.1", self.port), 10.0) as connection:
            connection.recv(4096)
            connection.sendall(b"CONNECT {}\r\nPUB %b %d\r\n" % (subject.encode(), len(payload)))
            connection.sendall(payload + b"\r\nPING\r\n")
            answer = b""
            while b"PONG" not in answer:
                answer += connection.recv(4096)

    def kill(self) -> None:
        """SIGKILL: a crash."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
