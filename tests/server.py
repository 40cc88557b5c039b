"""What the real servers of tests have in common: a folder, one process, its end by process id."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Self

_DEADLINE: Final = 20.0


class Server(ABC):
    """One server in a folder of its own; use it as a context manager.

    It may be ended and started again: what it keeps is in the folder, which goes at the end.
    """

    name: ClassVar[str]

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"wsgate-{self.name}-"))
        self.log = self.folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def _command(self) -> list[str]:
        """What to execute, with everything written that it needs."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it serves; asked until it does."""

    def _account(self) -> dict[str, Any]:
        """Whom it runs as, in the words of `subprocess`; by default whoever runs the tests."""
        return {}

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None, "it has not been started"
        return self._process.pid

    def start(self) -> Self:
        """Start it and wait until it serves."""
        command = self._command()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **self._account(),
            )
        deadline = time.monotonic() + _DEADLINE
        while not self._answers():
            assert self._process.poll() is None, self.log.read_text(errors="replace")
            assert time.monotonic() < deadline, f"{self.name} does not start"
            time.sleep(0.005)
        return self

    def kill(self) -> None:
        """SIGKILL: a crash."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it; nobody needs what it keeps."""
        self.kill()

    def pause(self) -> None:
        """SIGSTOP: connections are accepted, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)
        deadline = time.monotonic() + _DEADLINE
        # Its threads on other processors run on for a moment.
        while self._states() != {"T"}:
            assert time.monotonic() < deadline, f"{self.name} does not stand still"
            time.sleep(0.001)

    def _states(self) -> set[str]:
        stats = Path(f"/proc/{self.pid}/task").glob("*/stat")
        return {stat.read_text().rpartition(") ")[2][0] for stat in stats}

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
