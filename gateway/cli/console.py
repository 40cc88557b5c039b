"""`wsgate console URL`: a client in the terminal.

Ends with 0 when the user, the time or a code 1000 or 1001 ended it, with 1 when a connection
could not be opened, with 2 for a wrong call, with 3 when the other side closed it otherwise.
Works without a terminal: lines from a pipe are sent, their replies awaited, then it ends.
"""

import asyncio
import contextlib
import json
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import click

from . import arguments
from .tally import Tally, progress_line, summary_table
from .terminal import Lines, shown, wrapped

SUBPROTOCOL: Final = "wsgate.v1.json"
_PATIENCE: Final = 10.0  # seconds: for a handshake, and for replies after the last piped line
_OPENING_AT_ONCE: Final = 64
_QUIET_CODES: Final = frozenset({1000, 1001, 1005})


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect and what to say at once."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    channels: tuple[str, ...] = ()


class _ConnectionRefusedError(click.ClickException):
    """No connection; the message is one line."""


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


@contextlib.asynccontextmanager
async def connected(
    session: aiohttp.ClientSession, target: Target
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """An open WebSocket, its channels asked for; a click error with one line when there is none."""
    try:
        async with asyncio.timeout(_PATIENCE):
            socket = await session.ws_connect(
                target.url,
                headers=list(target.headers),
                protocols=(SUBPROTOCOL,) if target.channels else (),
                max_msg_size=0,
            )
    except TimeoutError:
        raise _ConnectionRefusedError(f"no answer in {_PATIENCE:.0f} s") from None
    except aiohttp.WSServerHandshakeError as exc:
        why = exc.message if exc.status == HTTPStatus.SWITCHING_PROTOCOLS else _phrase(exc.status)
        raise _ConnectionRefusedError(f"refused: {exc.status} {why}".strip()) from None
    except aiohttp.ClientConnectorCertificateError as exc:
        raise _ConnectionRefusedError(f"the certificate is not trusted: {exc}") from None
    except (aiohttp.ClientError, ssl.SSLError, OSError, ValueError) as exc:
        raise _ConnectionRefusedError(f"cannot connect: {exc or type(exc).__name__}") from None
    try:
        if target.channels and socket.protocol != SUBPROTOCOL:
            raise _ConnectionRefusedError(f"the server does not speak {SUBPROTOCOL}")
        for number, channel in enumerate(target.channels, 1):
            await socket.send_str(json.dumps({"id": number, "subscribe": channel}))
        yield socket
    finally:
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with asyncio.timeout(2):
                await socket.close()


class _Conversation:
    """One connection: what is typed goes out, what comes is shown."""

    def __init__(
        self, socket: aiohttp.ClientWebSocketResponse, target: Target, *, as_json: bool
    ) -> None:
        self._socket = socket
        self._as_json = as_json
        self._next_id = len(target.channels) + 1
        self._json_protocol = socket.protocol == SUBPROTOCOL
        self._listening = bool(target.channels)
        self._sent = self._received = 0

    async def run(self, lines: Lines) -> int:
        """Until one side ends it; returns the close code."""
        reading = asyncio.create_task(self._read(), name="console frames")
        writing = asyncio.create_task(self._write(lines), name="console lines")
        try:
            await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                return await reading
            await writing
            if self._listening or not self._sent:
                return await reading
            # The input has ended: its last replies are still wanted.
            deadline = time.monotonic() + _PATIENCE
            while self._received < self._sent and time.monotonic() < deadline:
                await asyncio.wait({reading}, timeout=0.02)
                if reading.done():
                    return await reading
            return 1000
        finally:
            for task in (reading, writing):
                task.cancel()
            await asyncio.gather(reading, writing, return_exceptions=True)

    async def _read(self) -> int:
        async for message in self._socket:
            if message.type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
                self._received += 1
                click.echo(shown("in", message.data, as_json=self._as_json))
        return self._socket.close_code or 1006

    async def _write(self, lines: Lines) -> None:
        while (line := await lines.queue.get()) is not None:
            if not line:
                continue
            if self._json_protocol:
                line = wrapped(line, self._next_id)
                self._next_id += 1
            with contextlib.suppress(aiohttp.ClientError, OSError):
                await self._socket.send_str(line)
            self._sent += 1
            if self._as_json or not sys.stdin.isatty():
                click.echo(shown("out", line, as_json=self._as_json))
        # A terminal's end of input (Ctrl-D) means goodbye, unlike a pipe's.
        if sys.stdin.isatty():
            await self._socket.close()


async def converse(target: Target, *, seconds: float | None, as_json: bool) -> int:
    """One connection and the terminal; returns the exit code."""
    async with aiohttp.ClientSession() as session, connected(session, target) as socket:
        if not as_json:
            protocol = f" ({socket.protocol})" if socket.protocol else ""
            click.echo(f"connected to {target.url}{protocol}; Ctrl-C ends", err=True)
        lines = Lines()
        lines.start(sys.stdin.fileno())
        try:
            async with asyncio.timeout(seconds):
                conversation = _Conversation(socket, target, as_json=as_json)
                code = await conversation.run(lines)
        except TimeoutError:
            return 0
    if code in _QUIET_CODES:
        return 0
    click.echo(f"closed by the server: {code}", err=True)
    return 3


async def _follow(
    session: aiohttp.ClientSession, target: Target, tally: Tally, opening: asyncio.Semaphore
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        try:
            async with opening:
                socket = await stack.enter_async_context(connected(session, target))
        except click.ClickException as exc:
            tally.failures[exc.message] += 1
            return
        number = tally.opened()
        async for message in socket:
            if message.type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
                tally.frame(number, len(message.data))
        tally.closed(socket.close_code or 1006)


async def crowd(target: Target, connections: int, *, seconds: float | None, as_json: bool) -> int:
    """Many connections that only count; returns the exit code."""
    arguments.raise_file_limit(connections)
    tally = Tally(connections)
    started = time.monotonic()
    opening = asyncio.Semaphore(_OPENING_AT_ONCE)
    report = _reporter(as_json=as_json)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        tasks = {
            asyncio.create_task(_follow(session, target, tally, opening), name=f"client {number}")
            for number in range(connections)
        }
        try:
            async with asyncio.timeout(seconds):
                while any(not task.done() for task in tasks):
                    await asyncio.wait(tasks, timeout=1)
                    report(tally.progress(time.monotonic() - started))
        except (TimeoutError, asyncio.CancelledError):
            pass  # the time is over, or Ctrl-C: the summary is what was asked for
        finally:
            elapsed = time.monotonic() - started
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    summary = tally.summary(elapsed)
    if as_json:
        click.echo(json.dumps({"summary": summary}))
    else:
        if sys.stderr.isatty():
            click.echo(err=True)
        click.echo(summary_table(summary))
    return 1 if tally.failures else 0


def _reporter(*, as_json: bool) -> Callable[[dict[str, Any]], None]:
    def report(progress: dict[str, Any]) -> None:
        if as_json:
            click.echo(json.dumps({"progress": progress}))
        elif sys.stderr.isatty():
            click.echo(f"\r\x1b[K{progress_line(progress)}", nl=False, err=True)
        else:
            click.echo(progress_line(progress), err=True)

    return report


@click.command("console")
@click.argument("url", callback=arguments.url)
@click.option(
    "--channel",
    "channels",
    multiple=True,
    metavar="CHANNEL",
    help="Speak wsgate.v1.json and subscribe; may be repeated.",
)
@click.option(
    "--connections",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Open so many, and count what each receives.",
)
@click.option(
    "--timeout", callback=arguments.duration, metavar="DURATION", help="End after 30s, 5m, 1h."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for scripts.")
@click.option(
    "--header",
    "headers",
    multiple=True,
    callback=arguments.headers,
    metavar="'NAME: VALUE'",
    help="A header of the handshake; may be repeated.",
)
def command(
    *,
    url: str,
    channels: tuple[str, ...],
    connections: int,
    timeout: float | None,
    as_json: bool,
    headers: tuple[tuple[str, str], ...],
) -> None:
    """Connect to URL: every line you type is a frame, every frame that comes is a line."""
    target = Target(url, headers, channels)
    try:
        if connections == 1:
            code = asyncio.run(converse(target, seconds=timeout, as_json=as_json))
        else:
            code = asyncio.run(crowd(target, connections, seconds=timeout, as_json=as_json))
    except KeyboardInterrupt:
        code = 0
    raise SystemExit(code)
