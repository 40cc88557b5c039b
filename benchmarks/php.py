"""The php-fpm that every peer of a run talks to: one pool, `pm = static`, a unix socket."""

import os
import pwd
import shutil
from pathlib import Path
from typing import Final

from benchmarks.processes import Server, connections_to

DOCUMENT_ROOT: Final = Path(__file__).parent / "php"

_POOL: Final = """\
[global]
daemonize = no
error_log = {folder}/php-fpm.log
log_level = warning
[bench]
{owner}
listen = {socket}
listen.mode = 0666
pm = static
pm.max_children = {children}
php_admin_value[memory_limit] = 128M
"""


def find_binary() -> str | None:
    """The newest php-fpm on this machine."""
    places = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/sbin", "/usr/local/sbin"]
    names = ["php-fpm", *(f"php-fpm8.{minor}" for minor in range(9, -1, -1))]
    return next(filter(None, (shutil.which(n, path=os.pathsep.join(places)) for n in names)), None)


class PhpFpm:
    """A running php-fpm with a fixed number of children."""

    def __init__(self, folder: Path, children: int) -> None:
        binary = find_binary()
        if binary is None:
            raise FileNotFoundError("no php-fpm on this machine: install php-fpm")
        self.children = children
        self.socket = folder / "php-fpm.sock"
        configuration = folder / "php-fpm.conf"
        as_root = os.geteuid() == 0
        owner = f"user = {pwd.getpwuid(os.geteuid()).pw_name}" if as_root else ""
        configuration.write_text(
            _POOL.format(folder=folder, socket=self.socket, children=children, owner=owner)
        )
        command = [binary, "-F", "-y", str(configuration), *(["-R"] if as_root else [])]
        self._server = Server(command, folder / "php-fpm.log")
        self._server.wait_for_socket(self.socket)

    @property
    def pids(self) -> list[int]:
        return self._server.pids

    @property
    def held(self) -> int:
        """How many of its children a connection occupies at this moment."""
        return min(self.children, connections_to(self.socket))

    def stop(self) -> None:
        self._server.stop()
        self.socket.unlink(missing_ok=True)
