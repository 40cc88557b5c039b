"""What one worker listens to in Redis: one connection, names never patterns, back after a loss.

Names that are wanted stay wanted while the server is away; when it is back they are subscribed to
again, and `on_up` is called as soon as the server has confirmed all of them. The connection is
asked for a sign of life when it is silent; one that gives none is given up.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

import structlog

from gateway.errors import BrokerUnavailableError
from gateway.tasks import TaskSet, forget_cancellations

from .backoff import Backoff
from .redis import Command, Ear

log = structlog.get_logger()

_CONNECT: Final = 3.0
_NAMES_AT_ONCE: Final = 500
_MESSAGES_AT_ONCE: Final = 64


class Subscriptions:
    """See the module's docstring.

    `on_message(name, data)`, `on_up()` and `on_down()` are called from the event loop and must
    neither wait nor raise. `on_up` follows the first connection, too.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Ear]],
        *,
        on_message: Callable[[bytes, bytes], None],
        on_up: Callable[[], None],
        on_down: Callable[[], None],
        ping_interval: float = 5.0,
        backoff: Backoff | None = None,
    ) -> None:
        self._connect = connect
        self._on_message, self._on_up, self._on_down = on_message, on_up, on_down
        self._ping_interval = ping_interval
        self._backoff = backoff or Backoff(0.05, 0.5)
        self._wanted: dict[bytes, bool] = {}
        self._expected: defaultdict[bytes, deque[asyncio.Future[None]]] = defaultdict(deque)
        self._outgoing: list[tuple[str, bytes]] = []
        self._wake = asyncio.Event()
        self._heard = 0
        self._connected = False
        self._tasks = TaskSet()
        self._told = False
        self.ready = False

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._tasks.spawn(self._keep_connected(), name="redis subscriptions")

    async def stop(self) -> None:
        """Give the connection up. Idempotent."""
        await self._tasks.close()

    def listens(self, name: bytes) -> bool:
        """Whether the server has confirmed the name, on the connection there is now."""
        return self._wanted.get(name, False)

    def want(self, name: bytes) -> asyncio.Future[None]:
        """Listen to the name from now on; done when the server has confirmed it.

        Fails with BrokerUnavailableError where it is away; the name stays wanted all the same.
        """
        self._wanted.setdefault(name, False)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self._connected:
            _fail(future)
        else:
            self._expected[name].append(future)
            self._send("SUBSCRIBE", name)
        return future

    def unwant(self, name: bytes) -> None:
        """Listen to it no longer; messages that are on their way may still come."""
        if name in self._wanted:
            del self._wanted[name]
            if self._connected:
                self._send("UNSUBSCRIBE", name)

    def _send(self, verb: str, name: bytes) -> None:
        self._outgoing.append((verb, name))
        self._wake.set()

    async def _keep_connected(self) -> None:
        while True:
            was_ready = False
            ear: Ear | None = None
            try:
                async with asyncio.timeout(_CONNECT):
                    ear = await self._connect()
                await self._serve(ear)
            except (BrokerUnavailableError, TimeoutError) as exc:
                if self.ready or not self._told:
                    log.warning("nothing is heard from Redis", reason=str(exc) or "no answer")
            except Exception:
                # Nothing else may end this loop: without it the worker would never come back.
                log.exception("nothing is heard from Redis")
            finally:
                was_ready = self.ready
                self._let_go()
                if ear is not None:
                    await ear.close()
            self._told = True
            forget_cancellations()
            if was_ready:
                self._backoff.reset()
                self._on_down()
            else:
                await asyncio.sleep(self._backoff.pause())

    def _let_go(self) -> None:
        self.ready = self._connected = False
        self._outgoing = []
        self._wanted = dict.fromkeys(self._wanted, False)
        for futures in self._expected.values():
            for future in futures:
                _fail(future)
        self._expected.clear()

    async def _serve(self, ear: Ear) -> None:
        self._connected = True
        again = [self.want(name) for name in tuple(self._wanted)]
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write(ear))
                group.create_task(self._read(ear))
                group.create_task(self._stay_alive(ear))
                group.create_task(self._come_up(again))
        except BaseExceptionGroup as found:
            # They fail together, of one cause; the first says which.
            raise found.exceptions[0] from None

    async def _come_up(self, again: Sequence[asyncio.Future[None]]) -> None:
        for confirmed in again:
            await confirmed
        self.ready = True
        if self._told:
            self._told = False
            log.info("Redis is heard again")
        self._on_up()

    async def _write(self, ear: Ear) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            outgoing, self._outgoing = self._outgoing, []
            if outgoing:
                await ear.send(list(_bundled(outgoing)))

    async def _read(self, ear: Ear) -> None:
        count = 0
        while True:
            found = await ear.receive()
            self._heard += 1
            kind = found[0]
            if kind == b"message":
                self._on_message(found[1], found[2])
            elif kind == b"subscribe":
                self._confirm(found[1])
            count += 1
            if count % _MESSAGES_AT_ONCE == 0:
                # What has arrived already is read without waiting: let others have their turn.
                await asyncio.sleep(0)

    def _confirm(self, name: bytes) -> None:
        futures = self._expected.get(name)
        if not futures:
            return
        future = futures.popleft()
        if not futures:
            del self._expected[name]
            if name in self._wanted:
                self._wanted[name] = True
        if not future.done():
            future.set_result(None)

    async def _stay_alive(self, ear: Ear) -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = self._heard
            due = loop.time() + self._ping_interval
            await asyncio.sleep(self._ping_interval)
            if self._heard != before or loop.time() - due > 1.0:
                continue
            await ear.send([("PING",)])
            await asyncio.sleep(self._ping_interval)
            if self._heard == before:
                raise BrokerUnavailableError(f"silent for {2 * self._ping_interval:g} s")


def _bundled(outgoing: Sequence[tuple[str, bytes]]) -> Iterator[Command]:
    """The same in the same order, with neighbours of one kind in one command."""
    verb, names = "", list[bytes]()
    for each, name in outgoing:
        if each != verb or len(names) >= _NAMES_AT_ONCE:
            if names:
                yield (verb, *names)
            verb, names = each, []
        names.append(name)
    if names:
        yield (verb, *names)


def _fail(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_exception(BrokerUnavailableError("Redis cannot be reached"))
        # Who gave up waiting does not fetch the error.
        future.exception()
