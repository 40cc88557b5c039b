"""What stands before a route: its origins, and whether a token is needed."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gateway.auth.origin import Origins
from gateway.codes import FORBIDDEN, UNAUTHORIZED
from gateway.config.auth import Auth, Jwt
from gateway.config.client import Client
from gateway.sessions.admission import Caller, RefusedError, refusal
from gateway.sessions.client import Handshake

if TYPE_CHECKING:
    from gateway.auth.jwt import Tokens

_ANYBODY: Final = Caller()
# RFC 9110 section 11.6.1: a 401 names what would be accepted.
_CHALLENGE: Final = ("WWW-Authenticate", "Bearer")


class RouteGate:
    """Fulfils `sessions.admission.Gate`. `wall` gives Unix time."""

    def __init__(self, limits: Client, auth: Auth, wall: Callable[[], float]) -> None:
        self._origins = Origins(limits.allowed_origins)
        self._tokens = None if auth.jwt is None else _tokens(auth.jwt, wall)
        self._required = auth.required

    def check(self, handshake: Handshake) -> Caller:
        """Who the client is.

        RefusedError with 403 for a page of a foreign origin, with 401 without a valid token
        where one is required; where none is, a client with a bad one is nobody in particular.
        """
        permitted = self._origins.permit(
            handshake.header("origin"), scheme=handshake.scheme, host=handshake.header("host")
        )
        if not permitted:
            raise refusal(FORBIDDEN)
        token = None if self._tokens is None else self._tokens.find(handshake)
        if token is not None:
            return Caller(token.user, token.claims, token.expires_at, token.offer, token.channels)
        if self._required:
            refused = refusal(UNAUTHORIZED)
            raise RefusedError(refused.status, (*refused.headers, _CHALLENGE), refused.body)
        return _ANYBODY


def _tokens(settings: Jwt, wall: Callable[[], float]) -> "Tokens":
    # It brings all of cryptography, which a worker without tokens need not wait for at its start.
    from gateway.auth.jwt import Tokens  # noqa: PLC0415

    return Tokens(settings, wall)
