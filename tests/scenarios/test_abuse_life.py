"""What happens around the process: its log, its clock, its loop."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from tests.abuse import Victim, healthy, said
from tests.gateway.test_stderr import fill
from tests.inprocess import Gateway, ask
from tests.phpfpm import PhpFpm

Start = Callable[..., Awaitable[Gateway]]

BROKEN = "header('WS-Close: 9');"
"""Every such reply is worth a line."""


async def test_a_log_that_nobody_reads_and_one_that_is_gone_stop_nothing(
    php: PhpFpm, tmp_path: Path
) -> None:
    """Fault 71: a pipe that is full, that is read again, that has no reader any more."""
    reading, writing = os.pipe()
    try:
        async with Victim(php, tmp_path, log_to=writing) as victim, healthy(victim, 2):
            filled = fill(writing)
            async with victim.connect() as client:
                for _ in range(30):
                    assert "error" in await said(client, BROKEN)
                read = 0
                while read < filled:
                    read += len(os.read(reading, filled - read))
                await asyncio.sleep(1.1)
                assert "error" in await said(client, BROKEN)
                line = b""
                while b"log lines lost" not in line:
                    line += await asyncio.to_thread(os.read, reading, 65536)
                os.close(reading)
                reading = -1
                for _ in range(30):
                    assert "error" in await said(client, BROKEN)
        assert victim.process.returncode == 0
    finally:
        os.close(writing)
        if reading >= 0:
            os.close(reading)


async def test_a_full_disk_under_the_log_stops_nothing(php: PhpFpm, tmp_path: Path) -> None:
    """Fault 71."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        async with Victim(php, tmp_path, log_to=full) as victim, victim.connect() as client:
            assert "error" in await said(client, BROKEN)
            assert await said(client, "echo 1;") == "1"
    finally:
        os.close(full)
    assert victim.process.returncode == 0


async def test_a_process_that_was_stopped_says_that_its_loop_stood_still(
    php: PhpFpm, tmp_path: Path
) -> None:
    """Fault 75."""
    async with Victim(php, tmp_path) as victim, victim.connect() as client:
        victim.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(0.5)
        victim.process.send_signal(signal.SIGCONT)
        assert await said(client, "echo 1;") == "1"
        await victim.until(lambda: "event loop blocked" in victim.log)


@pytest.mark.parametrize("step", [3600.0, -3600.0])
async def test_a_step_of_the_wall_clock_ends_no_connection(
    start: Start, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    """Fault 72."""
    gateway = await start(client={"ping_interval": "200ms", "pong_timeout": "1s"})
    async with gateway.crowd(5) as clients:
        await asyncio.gather(*(ask(client, "echo 1;") for client in clients))
        monkeypatch.setattr(SystemClock, "wall", staticmethod(lambda: time.time() + step))
        await asyncio.sleep(2.5)
        for client in clients:
            assert await ask(client, "setcookie('a', 'b', time() + 60); echo 2;") == "2"
    await gateway.until(lambda: len(gateway.events) == 5)
    assert {event["body"]["code"] for event in gateway.events} == {1000}
