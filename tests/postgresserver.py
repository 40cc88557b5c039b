"""A real PostgreSQL of a test's own: its folder, its socket, its end by process id."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_START_DEADLINE = 20.0
_SETTINGS = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "max_connections=30")


def find_postgres() -> Path | None:
    """The folder with the newest server's programs."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name)
    found = [folder for folder in folders if (folder / "initdb").exists()]
    if found:
        return found[-1]
    initdb = shutil.which("initdb")
    return Path(initdb).parent if initdb else None


class PostgresServer:
    """One server on a unix socket; the server refuses to run as root, so root lends it a name."""

    def __init__(self, *, encoding: str = "UTF8") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="wsgate-pg-"))
        self._data = self.folder / "data"
        self._encoding = encoding
        self._account: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            self._account = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

    @property
    def dsn(self) -> str:
        """Its address, as the configuration has it."""
        return f"postgresql://tester@/postgres?host={self.folder}&port=5432"

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> Self:
        """Start it and wait until it answers."""
        folder = find_postgres()
        assert folder is not None
        if not self._data.exists():
            command = [str(folder / "initdb"), "-D", str(self._data), "-U", "tester"]
            command += ["-A", "trust", "--no-sync", "-E", self._encoding, "--locale=C"]
            subprocess.run(
                command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, **self._account
            )
        options = [word for setting in _SETTINGS for word in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [folder / "postgres", "-D", self._data, "-k", self.folder, "-h", "", *options],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **self._account,
            )
        deadline = time.monotonic() + _START_DEADLINE
        lock = self._data / "postmaster.pid"
        while not (lock.exists() and "ready" in lock.read_text()):
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "PostgreSQL does not start"
            time.sleep(0.01)
        return self

    def stop(self) -> None:
        """Fast shutdown: connections are ended, the socket goes."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGINT)
            self._process.wait(20)
            self._process = None

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


async def until(condition: Any, within: float = 10.0) -> None:
    """Wait for a real server's effect to arrive."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - a real server is watched from outside
            await asyncio.sleep(0.005)
