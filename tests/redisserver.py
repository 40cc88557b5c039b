"""A real Redis of a test's own, on a unix socket and a free loopback port, ended by process id."""

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


def find_redis() -> str | None:
    """The server's binary."""
    return shutil.which("redis-server")


class RedisServer:
    """Use it as a context manager. `durable`: what was acknowledged survives SIGKILL.

    `options` are further lines of the configuration.
    """

    def __init__(self, *options: str, durable: bool = False, port: int = 0) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="wsgate-redis-"))
        self.socket_path = self.folder / "redis.sock"
        self.port = port or free_port()
        self._options = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"unixsocket {self.socket_path}",
            f"dir {self.folder}",
            'save ""',
            "daemonize no",
            f"logfile {self.folder / 'redis.log'}",
            *(["appendonly yes", "appendfsync always"] if durable else []),
            *options,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Over TCP."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        """Over the unix socket."""
        return f"unix://{self.socket_path}"

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None, "it has not been started"
        return self._process.pid

    def start(self) -> Self:
        """Start it and wait until it answers."""
        binary = find_redis()
        assert binary is not None
        config = self.folder / "redis.conf"
        config.write_text("\n".join(self._options) + "\n")
        self._process = subprocess.Popen(
            [binary, str(config), *self._arguments()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _DEADLINE
        while not self._answers():
            assert self._process.poll() is None, self._log()
            assert time.monotonic() < deadline, "Redis does not answer"
            time.sleep(0.005)
        return self

    def _arguments(self) -> list[str]:
        return []

    def _log(self) -> str:
        path = self.folder / "redis.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1.0) as probe:
                probe.sendall(b"PING\r\n")
                # Only a server that has read its data answers so.
                return probe.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def command(self, *words: str | bytes) -> bytes:
        """Send one command over a connection of its own; the raw answer."""
        parts = [word.encode() if isinstance(word, str) else word for word in words]
        request = b"*%d\r\n" % len(parts)
        request += b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        with socket.create_connection(("127.0.0.1", self.port), 10.0) as connection:
            connection.sendall(request)
            return connection.recv(65536)

    def kill(self) -> None:
        """SIGKILL: a crash."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """SIGSTOP: it accepts connections and answers nothing."""
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
