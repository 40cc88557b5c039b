"""The commands of one worker to Redis: one connection, in order, many at a time, never waited for.

Calls that are made while others are under way go out together as soon as those are answered.
When the server does not answer within the deadline the connection is given up: what was under way
fails (it may have been executed), what waits behind it fails, and so does every call until the
server is back. Nothing is sent twice.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from gateway.errors import BrokerUnavailableError
from gateway.tasks import TaskSet, forget_cancellations

from .backoff import Backoff
from .patience import patience
from .redis import Command, Link, ScriptMissingError

log = structlog.get_logger()

_BATCH: Final = 256
_WAITING: Final = 50_000
_CONNECT: Final = 3.0


class Script:
    """A Lua script, and the name the server knows it by."""

    __slots__ = ("sha", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class _Call:
    __slots__ = ("command", "future", "script")

    def __init__(
        self, command: Command, script: Script | None, future: asyncio.Future[Any]
    ) -> None:
        self.command, self.script, self.future = command, script, future


class Commands:
    """See the module's docstring. `on_up` is called each time the server has been reached."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Link]],
        *,
        on_up: Callable[[], None],
        deadline: float = 0.9,
        backoff: Backoff | None = None,
    ) -> None:
        self._connect, self._on_up = connect, on_up
        self._deadline = deadline
        self._backoff = backoff or Backoff(0.05, 0.5)
        self._waiting: list[_Call] = []
        self._wake = asyncio.Event()
        self._tasks = TaskSet()
        self._told = False
        self.ready = False

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._tasks.spawn(self._keep_connected(), name="redis commands")

    async def stop(self) -> None:
        """Give the connection up; calls that wait fail. Idempotent."""
        await self._tasks.close()

    def call(self, *command: bytes | str | int) -> asyncio.Future[Any]:
        """Send a command; a failed future when the server is away."""
        return self._add(command, None)

    def run(self, script: Script, key: str, *arguments: bytes | str | int) -> asyncio.Future[Any]:
        """Run a script about one key."""
        return self._add(("EVALSHA", script.sha, 1, key, *arguments), script)

    def _add(self, command: Command, script: Script | None) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if not self.ready:
            _settle(future, BrokerUnavailableError("Redis cannot be reached"))
        elif len(self._waiting) >= _WAITING:
            _settle(future, BrokerUnavailableError("Redis does not keep up"))
        else:
            self._waiting.append(_Call(command, script, future))
            self._wake.set()
        return future

    async def _keep_connected(self) -> None:
        while True:
            was_ready = False
            link: Link | None = None
            try:
                async with asyncio.timeout(_CONNECT):
                    link = await self._connect()
                await self._serve(link)
            except (BrokerUnavailableError, TimeoutError) as exc:
                if self.ready or not self._told:
                    log.warning("no connection to Redis", reason=str(exc) or "no answer")
            except Exception:
                # Nothing else may end this loop: without it the worker would never come back.
                log.exception("no connection to Redis")
            finally:
                was_ready, self.ready = self.ready, False
                self._fail(self._waiting)
                self._waiting = []
                if link is not None:
                    await link.close()
            self._told = True
            forget_cancellations()
            if was_ready:
                self._backoff.reset()
            else:
                await asyncio.sleep(self._backoff.pause())

    async def _serve(self, link: Link) -> None:
        async with patience(self._deadline):
            await link.run([("PING",)])
        self.ready = True
        if self._told:
            self._told = False
            log.info("connected to Redis again")
        self._on_up()
        while True:
            await self._wake.wait()
            while self._waiting:
                batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
                try:
                    async with patience(self._deadline):
                        answers = await self._answers(link, batch)
                except BaseException:
                    self._fail(batch)
                    raise
                for call, answer in zip(batch, answers, strict=True):
                    _settle(call.future, answer)
            self._wake.clear()

    async def _answers(self, link: Link, batch: list[_Call]) -> list[Any]:
        answers = await link.run([call.command for call in batch])
        unknown = [n for n, answer in enumerate(answers) if isinstance(answer, ScriptMissingError)]
        if unknown:
            # They were not executed; with their text they are, and the server keeps them.
            again = await link.run([_with_text(batch[n]) for n in unknown])
            for n, answer in zip(unknown, again, strict=True):
                answers[n] = answer
        return answers

    def _fail(self, calls: list[_Call]) -> None:
        for call in calls:
            _settle(call.future, BrokerUnavailableError("Redis was lost"))


def _with_text(call: _Call) -> Command:
    if call.script is None:
        return call.command
    return ("EVAL", call.script.text, *call.command[2:])


def _settle(future: asyncio.Future[Any], answer: Any) -> None:
    with contextlib.suppress(asyncio.InvalidStateError):
        if isinstance(answer, Exception):
            future.set_exception(answer)
            # Who gave up waiting does not fetch the error.
            future.exception()
        else:
            future.set_result(answer)
