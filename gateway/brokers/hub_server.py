"""The hub: the process to which all workers of a machine are connected.

It knows its workers by the names of their lives and hands what they say to whoever handles the
operation. Channels are one handler (`hub_channels`); the supervisor adds its own. The socket is
an abstract one, so that nothing of it remains whatever ends the process, and only processes of
the same user may connect.
"""

import asyncio
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from gateway.errors import BrokerUnavailableError, NodeGoneError

from .hub_link import TIMEOUT, Link
from .hub_messages import decode_hello
from .hub_wire import Frame, Op

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class Node:
    """A worker that is connected."""

    name: str
    pid: int
    link: Link = field(repr=False)


Handler = Callable[[Node, Frame], bytes | Awaitable[bytes] | None]


def address() -> str:
    """A name for a hub's socket that nobody can guess, in the abstract namespace."""
    return f"\0wsgate-{secrets.token_urlsafe(12)}"


class Hub:
    """See the module's docstring; owns the listening socket and every connection to it."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.handlers: dict[Op, Handler] = {}
        self.on_attached: list[Callable[[Node], None]] = []
        """Called when a worker has said hello, before anything else of it is heard."""
        self.on_detached: list[Callable[[Node], None]] = []
        """Called when its connection is gone; the process may live on and come back."""
        self.lives: Callable[[str], bool] = lambda _name: False
        """Whether a worker that is not connected is alive all the same, and will come back."""
        self._by_link: dict[Link, Node] = {}
        self._links: set[Link] = set()
        self._server: asyncio.AbstractServer | None = None

    async def listen(self, place: str) -> None:
        """Accept workers from now on."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(place)
        listener.setblocking(False)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._connect, sock=listener)

    async def close(self) -> None:
        """Accept nobody any more and let everybody go. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for link in tuple(self._links):
            link.close()
        if server is not None:
            await server.wait_closed()

    def drop_connections(self) -> None:
        """Break every connection, as a fault would; workers come back by themselves."""
        for link in tuple(self._links):
            link.abort()

    def tell_all(self, op: Op, body: bytes) -> None:
        """Say something to every worker."""
        for node in self.nodes.values():
            node.link.tell(op, body)

    async def ask(self, node: str, op: Op, body: bytes, timeout: float = TIMEOUT) -> bytes:  # noqa: ASYNC109 - the link keeps the deadline
        """Call one worker; NodeGoneError when there is none of that name."""
        found = self.nodes.get(node)
        if found is None:
            if self.lives(node):
                raise BrokerUnavailableError(f"the worker {node!a} is away from the hub")
            raise NodeGoneError(f"no worker is called {node!a}")
        try:
            return await found.link.call(op, body, timeout)
        except BrokerUnavailableError:
            if not found.link.connected and not self.lives(node):
                raise NodeGoneError(f"the worker {node!a} has gone") from None
            raise

    # The links' owner.

    def on_frame(self, link: Link, frame: Frame) -> bytes | Awaitable[bytes] | None:
        """Hand it to the operation's handler; a stranger can only say hello."""
        node = self._by_link.get(link)
        if node is not None and (handler := self.handlers.get(frame.op)) is not None:
            return handler(node, frame)
        if node is None and frame.op is Op.HELLO:
            self._welcome(link, decode_hello(frame.body).node)
        else:
            log.error("the hub does not know this", operation=frame.op.name)
            link.abort()
        return None

    def on_lost(self, link: Link) -> None:
        """The worker is gone, or will come back on another connection."""
        self._links.discard(link)
        node = self._by_link.pop(link, None)
        if node is not None and self.nodes.get(node.name) is node:
            del self.nodes[node.name]
            for detached in self.on_detached:
                detached(node)

    def _connect(self) -> "_Arriving":
        return _Arriving(self)

    def arrived(self, link: Link) -> None:
        """Somebody is connected who has not said hello yet."""
        self._links.add(link)

    def _welcome(self, link: Link, name: str) -> None:
        before = self.nodes.get(name)
        if before is not None:
            # Its old connection is broken, only nobody has noticed yet.
            before.link.abort()
            self.on_lost(before.link)
        node = self.nodes[name] = self._by_link[link] = Node(name, link.peer, link)
        for attached in self.on_attached:
            attached(node)


class _Arriving(Link):
    """The hub's end; lets in only who runs as the same user (or as root)."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub)
        self._hub = hub

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._hub.arrived(self)
        if self.user not in {os.geteuid(), 0}:
            log.error("a stranger connected to the hub", user=self.user)
            self.abort()
