"""The generator's process: reads commands, does them one after the other, answers each."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from benchmarks.generator.clients import Crowd
from benchmarks.generator.direct import direct
from benchmarks.generator.handshakes import Visitors
from benchmarks.generator.subscribers import Audience


async def run() -> None:
    crowd, audience, visitors = Crowd(), Audience(), Visitors()
    commands: dict[str, Callable[..., Awaitable[dict[str, object]]]] = {
        "open": crowd.open,
        "close": crowd.close,
        "frames": crowd.frames,
        "subscribe": audience.open,
        "publish": audience.publish,
        "leave": audience.close,
        "handshakes": visitors.handshakes,
        "disperse": visitors.close,
        "direct": direct,
    }
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        command: dict[str, Any] = json.loads(line)
        answer = await commands[command.pop("do")](**command)
        os.write(sys.stdout.fileno(), json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    uvloop.run(run())
