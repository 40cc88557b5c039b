"""Opens a pool's connections, and keeps the record of addresses that cannot be reached."""

import asyncio
import random
import socket
import time
from collections.abc import Callable
from functools import partial

from .address import Address, UnixAddress
from .connecting import connect_unix, open_socket
from .endpoint import Endpoint
from .errors import ConnectError

AddressObserver = Callable[[Address, ConnectError | None], None]


def observe_nothing(address: Address, error: ConnectError | None) -> None:
    """Where nobody wants to know."""


class Opener:
    """Tries addresses; `on_end` hears how each attempt went: the socket, or None.

    An attempt at a unix socket with room in its backlog ends inside `open`, every other one later
    in a task owned here; `on_late_end` is called after the latter. `on_address` hears when an
    address is lost (with the error) and when it is back (None).
    """

    def __init__(
        self,
        on_end: Callable[[Endpoint, socket.socket | None], None],
        on_late_end: Callable[[], None],
        on_address: AddressObserver = observe_nothing,
        *,
        loop: asyncio.AbstractEventLoop,
        connect_timeout: float,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._on_end = on_end
        self._on_late_end = on_late_end
        self._on_address = on_address
        self._loop = loop
        self._connect_timeout = connect_timeout
        self._clock = clock
        self._jitter = jitter
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, endpoint: Endpoint) -> None:
        """Begin an attempt."""
        if isinstance(endpoint.address, UnixAddress):
            started = self._clock()
            try:
                sock = connect_unix(endpoint.address)
            except ConnectError as error:
                self.note_failure(endpoint, error, started=started)
                self._on_end(endpoint, None)
                return
            if sock is not None:
                self._succeed(endpoint, sock)
                return
        task = self._loop.create_task(self._open(endpoint), name=f"connect {endpoint.address}")
        self._tasks.add(task)
        task.add_done_callback(partial(self._on_task_done, endpoint))

    def note_failure(self, endpoint: Endpoint, error: ConnectError, *, started: float) -> None:
        """An attempt begun at `started` came to nothing."""
        known = endpoint.error is not None
        endpoint.failed(error, started=started, now=self._clock(), jitter=self._jitter())
        if not known:
            self._on_address(endpoint.address, error)

    async def close(self) -> None:
        """End the attempts under way; `on_end` hears of each."""
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _open(self, endpoint: Endpoint) -> None:
        started = self._clock()
        try:
            sock = await open_socket(endpoint.address, self._connect_timeout)
        except ConnectError as error:
            self.note_failure(endpoint, error, started=started)
            self._on_end(endpoint, None)
        else:
            self._succeed(endpoint, sock)
        self._on_late_end()

    def _on_task_done(self, endpoint: Endpoint, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        # Here, because a task that is cancelled before its first step never runs at all.
        if task.cancelled():
            self._on_end(endpoint, None)

    def _succeed(self, endpoint: Endpoint, sock: socket.socket) -> None:
        known = endpoint.error is None
        endpoint.succeeded()
        if not known:
            self._on_address(endpoint.address, None)
        self._on_end(endpoint, sock)
