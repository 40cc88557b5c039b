"""What the transports need from above: someone who decides who comes in.

The front door knows RFC 6455 and HTTP; routes, origins, tokens, PHP's connect event and limits
are the doorman's. It is asked with callbacks, not awaited: most handshakes are answered at once.

What is handed over is made for every handshake, hence structs: they are made in a quarter of a
frozen dataclass's time.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from gateway.sessions.client import Client, Handshake, Listener, TransportKind


class Terms(msgspec.Struct, frozen=True, gc=False):
    """What the route grants a connection."""

    max_message: int = 1 << 20
    """Bytes, inclusive, across fragments and after inflating."""
    compression: bool = False
    congestion_mark: int = 64 << 10
    """Unsent bytes from which the listener is told of congestion."""
    longpoll_wait: float = 25.0
    """Seconds until a long poll without news is answered."""


class Welcome(msgspec.Struct, frozen=True):
    """The client is let in.

    `attach` is called once, after the 101 (or the response's head) is on its way; it may write
    at once, and what it returns hears everything from the first message on.
    """

    attach: Callable[[Client], Listener]
    subprotocol: str = ""
    set_cookies: tuple[str, ...] = ()
    terms: Terms = Terms()


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """The client is turned away with this answer. Hop-by-hop headers in it are left out."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class Admission(Protocol):
    """A client who waits outside. Answer once; after it has gone, answers do nothing."""

    @property
    def gone(self) -> bool:
        """Whether the client has given up."""

    def accept(self, welcome: Welcome) -> None:
        """Let the client in. What goes wrong is raised, when the client was turned away."""

    def refuse(self, refusal: Refusal) -> None:
        """Turn the client away."""


class Doorman(Protocol):
    """Called from the event loop; no method waits."""

    def enter(self, remote: str) -> Refusal | None:
        """Count a connection in, before anything else is asked; a refusal counts nothing.

        Every None is followed by exactly one `leave`, however the connection ends.
        """

    def leave(self, remote: str) -> None:
        """A connection that was counted in is gone from the socket table."""

    def offers(self, path: str) -> frozenset[TransportKind]:
        """How clients of the route at this path may be reached; empty when there is no route."""

    def admit(self, handshake: Handshake, admission: Admission) -> None:
        """Decide, now or later. Until then the client waits; the doorman keeps the deadline."""
