"""A worker's connection to the hub: kept up, or tried again until it stands.

What is asked while the hub is away fails at once. Whoever has state in the hub registers with
`on_connected` and says it again after every reconnect.
"""

import asyncio
import os
import random
import socket
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from gateway.errors import BrokerUnavailableError

from .hub_link import TIMEOUT, Conclusion, Link
from .hub_messages import Hello, pack
from .hub_wire import Frame, Op

log = structlog.get_logger()

_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0
_CONNECTING: Final = 5.0

Handler = Callable[[bytes], bytes | Awaitable[bytes] | None]


class HubClient:
    """See the module's docstring; owns one connection and one task that keeps it up."""

    def __init__(self, place: str, node: str) -> None:
        self.node = node
        self.handlers: dict[Op, Handler] = {}
        """What is done when the hub calls or tells something."""
        self.on_connected: list[Callable[[], None]] = []
        """Called, in this order, when the connection stands; what is said then is heard first."""
        self.on_away: list[Callable[[], None]] = []
        self._place = place
        self._link: Link | None = None
        self._lost = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether the hub can be reached."""
        return self._link is not None

    async def start(self) -> None:
        """Connect, or go on trying in the background when the hub is away."""
        if self._keeping is not None:
            return
        first = asyncio.Event()
        self._keeping = asyncio.create_task(self._keep(first), name="hub connection")
        await first.wait()

    async def stop(self) -> None:
        """Let go. Idempotent."""
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            keeping.cancel()
            await asyncio.wait([keeping])
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def call(self, op: Op, body: bytes, timeout: float = TIMEOUT) -> Awaitable[bytes]:
        """Ask the hub, from this very moment on; BrokerUnavailableError when it is away."""
        if self._link is None:
            raise BrokerUnavailableError("the hub is away")
        return self._link.call(op, body, timeout)

    def ask(self, op: Op, body: bytes, done: Conclusion) -> None:
        """The same for a caller without a task; `done` is called later and must not raise."""
        if self._link is None:
            raise BrokerUnavailableError("the hub is away")
        self._link.ask(op, body, done)

    def tell(self, op: Op, body: bytes) -> None:
        """Say something to the hub; while it is away it is lost."""
        if self._link is not None:
            self._link.tell(op, body)

    def reconnect(self) -> None:
        """Give the connection up and begin anew."""
        if self._link is not None:
            self._link.abort()

    # The link's owner.

    def on_frame(self, _link: Link, frame: Frame) -> bytes | Awaitable[bytes] | None:
        """Hand it to the operation's handler."""
        handler = self.handlers.get(frame.op)
        if handler is None:
            raise BrokerUnavailableError(f"this worker does not know {frame.op.name}")
        return handler(frame.body)

    def on_lost(self, link: Link) -> None:
        """Try again."""
        if link is self._link:
            self._link = None
            for away in self.on_away:
                away()
        self._lost.set()

    async def _keep(self, first: asyncio.Event) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                async with asyncio.timeout(_CONNECTING):
                    link = await self._connect()
            except OSError as exc:
                if not first.is_set():
                    log.warning("the hub is away", error=str(exc))
                first.set()
                # Workers that lost the same hub must not all knock at once.
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            pause = _FIRST_PAUSE
            self._lost.clear()
            self._begin(link)
            first.set()
            await self._lost.wait()
            log.warning("the hub's connection is lost")
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - no secret

    async def _connect(self) -> Link:
        # The kernel connects at once or not at all, and uvloop knows no abstract names.
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            connection.connect(self._place)
            loop = asyncio.get_running_loop()
            _, link = await loop.create_unix_connection(lambda: Link(self), sock=connection)
        except BaseException:
            connection.close()
            raise
        return link

    def _begin(self, link: Link) -> None:
        if link.user not in {os.geteuid(), 0}:
            # Ours is gone, and somebody else has taken its place.
            log.error("the hub is a stranger", user=link.user)
            link.abort()
            return
        self._link = link
        link.tell(Op.HELLO, pack(Hello(self.node)))
        for connected in self.on_connected:
            connected()
