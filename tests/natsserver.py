"""A real NATS server of a test's own, on a free loopback port."""

import os
import shutil
import signal
import socket
from pathlib import Path

from tests.phpfpm import free_port
from tests.server import Server


def find_nats() -> str | None:
    """The server's binary; Debian hides it in sbin."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/sbin", "/usr/local/sbin"]
    return shutil.which("nats-server", path=os.pathsep.join(folders))


class NatsServer(Server):
    """`jetstream`: it keeps streams, on disk.

    `options` are further lines of the configuration; `reload` obeys a change of them.
    """

    name = "nats"

    def __init__(self, *options: str, jetstream: bool = True) -> None:
        super().__init__()
        self.options = list(options)
        self.port = free_port()
        self._jetstream = jetstream

    @property
    def url(self) -> str:
        """Where it is."""
        return f"nats://127.0.0.1:{self.port}"

    def _command(self) -> list[str]:
        binary = find_nats()
        assert binary is not None
        return [binary, "-c", str(self._configure())]

    def _configure(self) -> Path:
        config = self.folder / "nats.conf"
        lines = [f"listen: 127.0.0.1:{self.port}"]
        if self._jetstream:
            lines.append(f'jetstream {{ store_dir: "{self.folder}/streams" }}')
        config.write_text("\n".join([*lines, *self.options]) + "\n")
        return config

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1.0) as probe:
                return probe.recv(64).startswith(b"INFO ")
        except OSError:
            return False

    def reload(self) -> None:
        """SIGHUP, with the options as they are now."""
        self._configure()
        os.kill(self.pid, signal.SIGHUP)

    def publish(self, subject: str, payload: bytes) -> None:
        """Publish over a connection of its own."""
        with socket.create_connection(("127.0.0.1", self.port), 10.0) as connection:
            connection.recv(4096)
            connection.sendall(b"CONNECT {}\r\nPUB %b %d\r\n" % (subject.encode(), len(payload)))
            connection.sendall(payload + b"\r\nPING\r\n")
            answer = b""
            while b"PONG" not in answer:
                answer += connection.recv(4096)
