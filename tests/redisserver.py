"""A real Redis of a test's own, on a unix socket and a free loopback port."""

import shutil
import socket

from tests.phpfpm import free_port
from tests.server import Server


def find_redis() -> str | None:
    """The server's binary."""
    return shutil.which("redis-server")


class RedisServer(Server):
    """`durable`: what was acknowledged survives SIGKILL.

    `options` are further lines of the configuration.
    """

    name = "redis"

    def __init__(self, *options: str, durable: bool = False, port: int = 0) -> None:
        super().__init__()
        self.socket_path = self.folder / "redis.sock"
        self.port = port or free_port()
        self._options = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"unixsocket {self.socket_path}",
            f"dir {self.folder}",
            'save ""',
            "daemonize no",
            *(["appendonly yes", "appendfsync always"] if durable else []),
            *options,
        ]

    @property
    def url(self) -> str:
        """Over TCP."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        """Over the unix socket."""
        return f"unix://{self.socket_path}"

    def _command(self) -> list[str]:
        binary = find_redis()
        assert binary is not None
        config = self.folder / "redis.conf"
        config.write_text("\n".join(self._options) + "\n")
        return [binary, str(config), *self._arguments()]

    def _arguments(self) -> list[str]:
        return []

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
