"""Exchanges that remember what became of them, and the requests to fill them."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

from fastcgi import params
from fastcgi.errors import FastCGIError
from fastcgi.exchange import Exchange
from fastcgi.response import Response


def parameters(script: str, body: bytes = b"") -> tuple[bytes, ...]:
    """What PHP must know, in two blocks as the gateway makes them."""
    fixed = {
        "SCRIPT_FILENAME": script,
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": "application/json",
    }
    return params.encode(fixed.items()), params.encode([("CONTENT_LENGTH", str(len(body)))])


class Recorder(Exchange):
    """Counts its callbacks, so that a test notices two of them, or none."""

    __slots__ = ("callbacks", "chunks", "done", "error", "response", "then")

    def __init__(
        self,
        script: str,
        body: bytes = b"",
        *,
        timeout: float = 20.0,
        idempotent: bool = False,
        stream: bool = False,
        then: Callable[["Recorder"], None] | None = None,
    ) -> None:
        super().__init__(
            parameters(script, body),
            body,
            timeout=timeout,
            script=script,
            idempotent=idempotent,
            stream=stream,
        )
        self.callbacks = 0
        self.response: Response | None = None
        self.error: FastCGIError | None = None
        self.chunks: list[bytes] = []
        self.then = then
        self.done = asyncio.get_running_loop().create_future()

    def on_response(self, response: Response) -> None:
        self.response = response
        self._end()

    def on_failure(self, error: FastCGIError) -> None:
        self.error = error
        self._end()

    def on_body(self, chunk: bytes) -> None:
        self.chunks.append(chunk)

    def _end(self) -> None:
        self.callbacks += 1
        if not self.done.done():
            self.done.set_result(None)
        if self.then is not None:
            self.then(self)

    @property
    def text(self) -> str:
        """The body of the answer; an error is raised instead."""
        if self.error is not None:
            raise self.error
        assert self.response is not None
        return self.response.body.decode()


async def ended(exchanges: Iterable[Recorder], within: float = 30.0) -> None:
    """Wait until each has had its callback."""
    async with asyncio.timeout(within):
        for exchange in exchanges:
            await exchange.done


async def until(condition: Callable[[], object], within: float = 5.0) -> None:
    """Wait for something a real peer brings about."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - the peer is another process
            await asyncio.sleep(0.005)


def open_descriptors() -> int:
    """How many file descriptors this process holds."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
