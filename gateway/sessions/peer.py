"""A session as its own parts see it: wires, effects, commands, routes.

The session is put together from these parts, so they cannot import it; this is what they use.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from gateway.channels.publication import Publication
from gateway.channels.subscriber import Subscriber
from gateway.codes import Failure

from .client import Client
from .identity import Identity

if TYPE_CHECKING:
    from .commands import Commands
    from .route import Route
    from .services import Services
    from .wire import Wire


class Peer(Subscriber, Protocol):
    """See `session.Session` and what it is made of, which document the members."""

    __slots__ = ()

    identity: Identity
    route: "Route"
    services: "Services"
    wire: "Wire"
    message_id: int
    publish_to: str | None
    connected_at_ms: int

    @property
    def open(self) -> bool:
        """Whether the client can be sent something."""

    @property
    def present(self) -> bool:
        """Whether the client is here or on its way in."""

    @property
    def busy(self) -> bool:
        """Whether something that the client sent is not concluded."""

    @property
    def commands(self) -> "Commands":
        """What the client asks for besides PHP."""

    def ask(self, payload: bytes, *, text: bool, tag: object) -> None:
        """Hand a message to PHP."""

    def publish_frame(self, channel: str, payload: bytes, *, text: bool) -> None:
        """Hand a frame to a channel."""

    def send(self, payload: bytes, *, text: bool) -> None:
        """One message to the client."""

    def tell(self, encode: Callable[[Client], bytes]) -> None:
        """One message to the client, encoded for it when it is in."""

    def deliver_all(self, publications: tuple[Publication, ...]) -> None:
        """Hand on what a join has found, oldest first."""

    def fail(self, failure: Failure, tag: object, message_id: int, detail: str = "") -> None:
        """An error frame."""

    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye."""

    def hold(self) -> None:
        """Do not read from the client."""

    def release(self) -> None:
        """Read on from the client."""

    def on_idle(self) -> None:
        """Everything that the client sent is concluded."""
