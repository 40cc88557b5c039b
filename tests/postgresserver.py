"""A real PostgreSQL of a test's own, on a unix socket in its folder."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

from tests.server import Server

_SETTINGS = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "max_connections=30")


def find_postgres() -> Path | None:
    """The folder with the newest server's programs."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name)
    found = [folder for folder in folders if (folder / "initdb").exists()]
    if found:
        return found[-1]
    initdb = shutil.which("initdb")
    return Path(initdb).parent if initdb else None


class PostgresServer(Server):
    """On a unix socket; it refuses to run as root, so root lends it a name.

    With a `port` it listens on the loopback address as well.
    """

    name = "postgres"

    def __init__(self, *, encoding: str = "UTF8", user: str = "tester", port: int = 0) -> None:
        super().__init__()
        self.user, self.port = user, port or 5432
        self._addresses = "127.0.0.1" if port else ""
        self._data = self.folder / "data"
        self._encoding = encoding
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(self.folder, account.pw_uid, account.pw_gid)

    @property
    def dsn(self) -> str:
        """Its address, as the configuration has it."""
        return f"postgresql://{self.user}@/postgres?host={self.folder}&port={self.port}"

    def _account(self) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {}
        account = pwd.getpwnam("postgres")
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

    def _command(self) -> list[str]:
        folder = find_postgres()
        assert folder is not None
        if not self._data.exists():
            command = [str(folder / "initdb"), "-D", str(self._data), "-U", self.user]
            command += ["-A", "trust", "--no-sync", "-E", self._encoding, "--locale=C"]
            subprocess.run(
                command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, **self._account()
            )
        options = [word for setting in _SETTINGS for word in ("-c", setting)]
        places = ["-D", str(self._data), "-k", str(self.folder)]
        places += ["-h", self._addresses, "-p", str(self.port)]
        return [str(folder / "postgres"), *places, *options]

    def _answers(self) -> bool:
        lock = self._data / "postmaster.pid"
        return lock.exists() and "ready" in lock.read_text()

    def stop(self) -> None:
        """Fast shutdown: connections are ended, the socket goes."""
        if self._process is not None:
            self.resume()
            self._process.send_signal(signal.SIGINT)
            self._process.wait(20)
            self._process = None


async def until(condition: Any, within: float = 10.0) -> None:
    """Wait for a real server's effect to arrive."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - a real server is watched from outside
            await asyncio.sleep(0.005)
