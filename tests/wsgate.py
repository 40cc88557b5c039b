"""The real command as a process of a test's own, stopped by its process id."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


class Running:
    """A `wsgate dev` of a test's own."""

    def __init__(
        self, process: asyncio.subprocess.Process, port: int, internal_port: int, temporary: Path
    ) -> None:
        self.process = process
        self.port = port
        self.internal_port = internal_port
        self.temporary = temporary

    @property
    def php_fpm(self) -> int:
        """Its php-fpm's process id, found as the kernel knows it."""
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == self.process.pid and fields[0] != "Z":
                return int(entry.name)
        raise AssertionError("no php-fpm")


@asynccontextmanager
async def dev(
    folder: Path, temporary: Path, port: int, internal_port: int, *more: str
) -> AsyncIterator[Running]:
    """`wsgate dev FOLDER`, handed over when it serves; its temporary files go to `temporary`."""
    temporary.mkdir()  # noqa: ASYNC240 - a folder of our own
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway.cli.main",
        "dev",
        str(folder),
        "--port",
        str(port),
        "--internal-port",
        str(internal_port),
        *more,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            while line := await process.stdout.readline():
                if b"Ctrl-C" in line:
                    break
            else:
                raise AssertionError("it did not start")
        yield Running(process, port, internal_port, temporary)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.communicate(), 30)


@asynccontextmanager
async def serve(file: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """`wsgate serve -c FILE`, handed over when it serves."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway.cli.main",
        "serve",
        "-c",
        str(file),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        said = []
        async with asyncio.timeout(30):
            while line := await process.stderr.readline():
                said.append(line.decode())
                if b"serving" in line:
                    break
            else:
                raise AssertionError("".join(said))
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.communicate(), 30)
