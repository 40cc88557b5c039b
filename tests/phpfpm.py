"""A real php-fpm of a test's own: its pool file, its socket, its scripts, its end.

The server lives in a temporary folder, listens on a unix socket there (or on a free loopback
port) and is stopped by process id. It never touches a php-fpm that somebody else started.
"""

import contextlib
import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_START_DEADLINE: Final = 10.0
_STOP_DEADLINE: Final = 5.0


def find_php_fpm() -> str | None:
    """The newest php-fpm of this machine; Debian names it with its version and hides it in sbin."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/sbin", "/usr/local/sbin"]
    names = {path.name for folder in folders if folder for path in Path(folder).glob("php-fpm*")}
    for name in sorted(names, reverse=True):
        if found := shutil.which(name, path=os.pathsep.join(folders)):
            return found
    return None


def free_port() -> int:
    """A loopback port nobody listens on at the moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PhpFpm:
    """One php-fpm master with one pool; use it as a context manager.

    `max_children` children are started at once and never more or fewer, so that a test may count
    them. `settings` are further lines of the pool section, `global_settings` of `[global]`.
    """

    def __init__(
        self,
        *,
        tcp: bool = False,
        max_children: int = 4,
        max_requests: int = 0,
        settings: Mapping[str, str] | None = None,
        global_settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="wsgate-fpm-"))
        self.folder.chmod(0o755)
        self.document_root = self.folder / "public"
        self.document_root.mkdir()
        self.socket_path = self.folder / "php.sock"
        self.port = free_port() if tcp else 0
        self.max_children = max_children
        self._settings = {
            "listen": f"127.0.0.1:{self.port}" if tcp else str(self.socket_path),
            "pm": "static",
            "pm.max_children": str(max_children),
            "pm.max_requests": str(max_requests),
            "catch_workers_output": "no",
            **self._account(),
            **(settings or {}),
        }
        self._global_settings = {
            "error_log": str(self.folder / "error.log"),
            "daemonize": "no",
            "log_level": "notice",
            **(global_settings or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def _account() -> dict[str, str]:
        """Root must name whom the children run as; anybody else may not."""
        if os.geteuid() != 0:
            return {}
        return {"user": pwd.getpwuid(0).pw_name, "group": grp.getgrgid(0).gr_name}

    @property
    def address(self) -> str:
        """What the configuration of an upstream would call this server."""
        return f"127.0.0.1:{self.port}" if self.port else f"unix:{self.socket_path}"

    @property
    def pid(self) -> int:
        """The master's process id."""
        assert self._process is not None, "php-fpm has not been started"
        return self._process.pid

    @property
    def log(self) -> str:
        """What the master has written to its error log so far."""
        path = self.folder / "error.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def children(self) -> list[int]:
        """The process ids of the children alive now."""
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        try:
            return [int(pid) for pid in path.read_text().split()]
        except FileNotFoundError:
            return []

    def script(self, name: str, code: str) -> str:
        """Write a PHP script (without the opening tag); answers its SCRIPT_FILENAME."""
        path = self.document_root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"<?php\n{code}\n")
        return str(path)

    def start(self) -> Self:
        """Start the master and wait until it listens."""
        binary = find_php_fpm()
        assert binary is not None, "no php-fpm on this machine"
        pool = "".join(f"{name} = {value}\n" for name, value in self._settings.items())
        main = "".join(f"{name} = {value}\n" for name, value in self._global_settings.items())
        config = self.folder / "php-fpm.conf"
        config.write_text(f"[global]\n{main}\n[test]\n{pool}")
        command = [binary, "--nodaemonize", "--fpm-config", str(config), "-n"]
        command += ["-d", "opcache.enable=1"]
        if os.geteuid() == 0:
            command.append("-R")
        with (self.folder / "stderr.log").open("ab") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd=self.folder,
            )
        self.wait_until_it_listens()
        return self

    def wait_until_it_listens(self) -> None:
        """Wait until a connection is accepted by the kernel."""
        deadline = time.monotonic() + _START_DEADLINE
        while not self._listens():
            assert self._process is not None
            assert self._process.poll() is None, (self.folder / "stderr.log").read_text()
            assert time.monotonic() < deadline, "php-fpm does not listen"
            time.sleep(0.005)

    def _listens(self) -> bool:
        family = socket.AF_INET if self.port else socket.AF_UNIX
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(("127.0.0.1", self.port) if self.port else str(self.socket_path))
            except OSError:
                return False
            return True

    def reload(self) -> None:
        """SIGUSR2: the master executes itself anew and replaces its children."""
        os.kill(self.pid, signal.SIGUSR2)

    def reopen_logs(self) -> None:
        """SIGUSR1: what logrotate sends; children are replaced, requests are not to be lost."""
        os.kill(self.pid, signal.SIGUSR1)

    def kill(self) -> None:
        """End master and children at once, as a crash of the machine's service would."""
        if self._process is None:
            return
        victims = self.children()
        self._process.kill()
        self._process.wait()
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process = None

    def stop(self) -> None:
        """SIGTERM, then certainty; the socket file goes with the server."""
        if self._process is None:
            return
        victims = self.children()
        self._process.terminate()
        try:
            self._process.wait(_STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            self.kill()
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process = None

    def restart(self) -> None:
        """Stop and start again at the same address."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
