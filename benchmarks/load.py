"""The measures' handle on the load generator's process."""

import json
import os
import resource
import subprocess
import sys
from typing import Any, Self

Answer = dict[str, Any]


class GeneratorError(Exception):
    """The load generator has died; it printed why."""


class Generator:
    """Starts the generator; every method is one command and returns its answer."""

    def __init__(self) -> None:
        _lift_file_limit()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.generator"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def open(self, url: str, count: int) -> Answer:
        """Opens more sockets; raises if not every one could be opened."""
        answer = self._do("open", url=url, count=count)
        if answer["failed"]:
            raise GeneratorError(f"{url}: sockets that did not open: {answer['failed']}")
        return answer

    def close(self) -> Answer:
        return self._do("close")

    def frames(self, count: int, size: int = 100, in_flight: int = 0) -> Answer:
        return self._do("frames", count=count, size=size, in_flight=in_flight)

    def subscribe(self, url: str, count: int) -> Answer:
        answer = self._do("subscribe", url=url, count=count)
        if answer["failed"]:
            raise GeneratorError(f"{url}: {answer['failed']} subscribers did not get in")
        return answer

    def publish(self, url: str, count: int, size: int = 100) -> Answer:
        return self._do("publish", url=url, count=count, size=size)

    def leave(self) -> Answer:
        return self._do("leave")

    def handshakes(self, url: str, count: int) -> Answer:
        return self._do("handshakes", url=url, count=count)

    def disperse(self) -> Answer:
        """Closes what `handshakes` opened."""
        return self._do("disperse")

    def direct(
        self, *, socket: str, root: str, kept: int, clients: int, frames: int, size: int = 100
    ) -> Answer:
        return self._do(
            "direct",
            socket=socket,
            root=root,
            script="/echo.php",
            kept=kept,
            clients=clients,
            frames=frames,
            size=size,
        )

    def _do(self, what: str, **arguments: object) -> Answer:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"do": what, **arguments}).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise GeneratorError(f"the load generator died while asked to {what}")
        answer: Answer = json.loads(line)
        return answer


def _lift_file_limit() -> None:
    """The servers and the generator inherit this: thousands of sockets need as many files."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
