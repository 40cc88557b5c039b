"""What stands before a route: its origins, and whether a token is needed."""

from gateway.auth.origin import Origins
from gateway.codes import FORBIDDEN
from gateway.config.client import Client
from gateway.sessions.admission import Caller, refusal
from gateway.sessions.client import Handshake

_ANYBODY = Caller()


class RouteGate:
    """Fulfils `sessions.admission.Gate`."""

    def __init__(self, limits: Client) -> None:
        self._origins = Origins(limits.allowed_origins)

    def check(self, handshake: Handshake) -> Caller:
        """Who the client is; RefusedError with 403 for a page of a foreign origin."""
        permitted = self._origins.permit(
            handshake.header("origin"), scheme=handshake.scheme, host=handshake.header("host")
        )
        if not permitted:
            raise refusal(FORBIDDEN)
        return _ANYBODY
