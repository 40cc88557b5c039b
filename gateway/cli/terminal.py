"""What the console reads and shows: lines in, frames out. Knows nothing of sockets."""

import asyncio
import base64
import contextlib
import json
import os
import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

_VERBS: Final = frozenset({"send", "subscribe", "unsubscribe", "publish", "history", "presence"})
_SHOWN_BYTES: Final = 64


@dataclass(slots=True)
class Lines:
    """Standard input, a line at a time, read by a thread that nobody has to wait for."""

    queue: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue)

    def start(self, descriptor: int) -> None:
        """Begin reading; None in the queue is the end."""
        loop = asyncio.get_running_loop()

        def put(line: str | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended before the input
                loop.call_soon_threadsafe(self.queue.put_nowait, line)

        def read() -> None:
            rest = b""
            # os.read holds no lock that the end of the interpreter would wait for.
            with contextlib.suppress(OSError):
                while chunk := os.read(descriptor, 65536):
                    *whole, rest = (rest + chunk).split(b"\n")
                    for line in whole:
                        put(line.decode(errors="replace").removesuffix("\r"))
            if rest:
                put(rest.decode(errors="replace"))
            put(None)

        threading.Thread(target=read, name="standard input", daemon=True).start()


def wrapped(line: str, number: int) -> str:
    """What a typed line becomes for a server of the json protocol.

    An object with one of the protocol's verbs is sent as it is, with an id if it has none.
    """
    try:
        value = json.loads(line)
    except ValueError:
        value = line
    if isinstance(value, dict) and _VERBS & value.keys():
        return json.dumps({"id": number, **value}, ensure_ascii=False)
    return json.dumps({"id": number, "send": value}, ensure_ascii=False)


def shown(direction: str, data: str | bytes, *, as_json: bool) -> str:
    """One frame as a line: for people, or as a JSON object for scripts."""
    now = datetime.now().astimezone()
    if as_json:
        record: dict[str, Any] = {"time": now.isoformat(timespec="milliseconds")}
        record["direction"] = direction
        if isinstance(data, bytes):
            record |= {
                "type": "binary",
                "encoding": "base64",
                "data": base64.b64encode(data).decode(),
            }
        else:
            record |= {"type": "text", "data": data}
        return json.dumps(record, ensure_ascii=False)
    mark = {"in": "<", "out": ">"}[direction]
    if isinstance(data, bytes):
        more = " ..." if len(data) > _SHOWN_BYTES else ""
        data = f"binary, {len(data)} bytes: {data[:_SHOWN_BYTES].hex(' ')}{more}"
    # A server must not be able to steer the terminal.
    safe = "".join(char if char.isprintable() or char in "\t\n" else "\ufffd" for char in data)
    return f"{now:%H:%M:%S}.{now.microsecond // 1000:03d} {mark} {safe}"
