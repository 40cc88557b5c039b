"""What is left of a connection whose worker died: enough to tell PHP that it is gone."""

from typing import TYPE_CHECKING, Protocol

from gateway.backend.environ import event_block
from gateway.backend.invocation import Invocation
from gateway.codes import CloseCode

from .wire import goodbye

if TYPE_CHECKING:
    from .farewell import Farewell
    from .route import Route
    from .session import Session


class Wills(Protocol):
    """Where it is kept what PHP is to hear if this process dies; `server.company` has it."""

    def keep(self, session: "Session") -> None:
        """Keep what the `disconnect` event of the session needs, in place of what was kept."""

    def revoke(self, connection_id: str) -> None:
        """PHP has heard it, or need not."""


class Departed(Protocol):
    """Somebody whose `disconnect` event is still to be sent: a session, or a bequest."""

    route: "Route"

    @property
    def id(self) -> str:
        """The connection's id."""

    @property
    def serial_key(self) -> str:
        """By what `serialize_by` lines it up, or empty."""

    @property
    def blocks(self) -> tuple[bytes, bytes]:
        """The params of the connection: what never changes, and what replies have changed."""

    def rebind(self, route: "Route") -> None:
        """Go on with the route as a reload has made it."""

    def farewell(self) -> Invocation | None:
        """The event, or None where PHP does not want it."""


class Bequest:
    """Fulfils `Departed` for a connection that another worker held until it died."""

    __slots__ = ("_farewell", "blocks", "id", "route", "serial_key")

    def __init__(
        self,
        connection_id: str,
        route: "Route",
        blocks: tuple[bytes, bytes],
        serial_key: str,
        farewell: "Farewell",
    ) -> None:
        self.id = connection_id
        self.route = route
        self.serial_key = serial_key
        self.blocks = blocks
        self._farewell = farewell

    def rebind(self, route: "Route") -> None:
        """Go on with the route as a reload has made it."""
        self.route = route

    def farewell(self) -> Invocation | None:
        """The event: nobody said goodbye."""
        target = self.route.hooks.disconnect
        if target is None:
            return None
        body = goodbye(CloseCode.ABNORMAL, "", clean=False)
        extra = (("WS_CLOSE_CODE", str(int(CloseCode.ABNORMAL))), ("WS_CLOSE_REASON", ""))
        blocks = (*self.blocks, event_block("disconnect", len(body), extra))
        return Invocation(target, blocks, body, self._farewell.asker(self.id))
