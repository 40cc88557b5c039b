"""Who a client is, by a JSON Web Token in its handshake.

Which key and which signatures count is decided by the configuration alone: a token's own header
(`alg`, `kid`, `jwk`, `x5u`) chooses nothing. Whatever a client sends gives a token's contents or
none; the reason is told to nobody, so that there is nothing to probe.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import jwt
import msgspec
import structlog
from jwt.warnings import InsecureKeyLengthWarning

from gateway.config.auth import Jwt, TokenPlace
from gateway.errors import ConfigurationError
from gateway.routing.paths import query_variables
from gateway.sessions.client import Handshake

log: Final = structlog.get_logger()

MAX_TOKEN: Final = 16 * 1024
"""Bytes; what is longer is not even looked at."""
_MAX_USER: Final = 1024
_MAX_CHANNELS: Final = 1000
_SEGMENTS: Final = 3
_PREFIX: Final = "bearer."

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True)
class Token:
    """What a valid token says; `expires_at` is Unix time, `claims` is JSON.

    `channels` are names and patterns that the client may join by itself. `offer` is the
    subprotocol that carried the token, if one did.
    """

    user: str
    claims: str
    expires_at: float | None
    channels: tuple[str, ...] = ()
    offer: str = ""


class Tokens:
    """The tokens of one route. Reads the key when it is made; ConfigurationError when it cannot."""

    def __init__(self, settings: Jwt, wall: Callable[[], float]) -> None:
        self._places = settings.from_
        self._algorithms = list(settings.algorithms)
        self._audience = settings.audience
        self._issuer = settings.issuer
        self._wall = wall
        self._signatures = jwt.PyJWS(algorithms=self._algorithms)
        self._key = _key(settings, self._signatures)

    def find(self, handshake: Handshake) -> Token | None:
        """The first valid token, in the order of the places; None when there is none."""
        for text, offer in _candidates(self._places, handshake):
            token = self.read(text, offer)
            if token is not None:
                return token
        return None

    def read(self, text: str, offer: str = "") -> Token | None:
        """The contents of a token that is signed, in force and meant for us; else None."""
        if not 0 < len(text) <= MAX_TOKEN:
            return None
        try:
            found = self._signatures.decode_complete(text, self._key, algorithms=self._algorithms)
            # A header that a reader must understand (RFC 7515 section 4.1.11): none is understood.
            if "crit" in found["header"]:
                return None
            claims = _decode(found["payload"])
            return self._judge(claims, offer)
        except (
            jwt.PyJWTError,
            msgspec.MsgspecError,
            ValueError,
            TypeError,
            OverflowError,
            RecursionError,
        ):
            return None

    def _judge(self, claims: dict[str, Any], offer: str) -> Token | None:
        now = self._wall()
        expires_at, not_before = _moment(claims.get("exp")), _moment(claims.get("nbf"))
        if expires_at is not None and now >= expires_at:
            return None
        if not_before is not None and now < not_before:
            return None
        audience = claims.get("aud")
        meant_for = audience if isinstance(audience, list) else [audience]
        if self._audience and self._audience not in meant_for:
            return None
        if self._issuer and claims.get("iss") != self._issuer:
            return None
        return Token(
            _user(claims.get("sub")),
            msgspec.json.encode(claims).decode(),
            expires_at,
            _channels(claims.get("channels")),
            offer,
        )


def _key(settings: Jwt, signatures: jwt.PyJWS) -> Any:
    """The key, prepared once; it must suit every algorithm that is accepted."""
    if settings.public_key is None:
        text: str | bytes = settings.secret
    else:
        try:
            text = settings.public_key.read_bytes()
        except OSError as exc:
            raise ConfigurationError(
                f"auth.jwt.public_key: cannot read {settings.public_key}: {exc.strerror}"
            ) from exc
    key: Any = None
    for name in settings.algorithms:
        algorithm = signatures.get_algorithm_by_name(name)
        try:
            key = algorithm.prepare_key(text)
        except (jwt.InvalidKeyError, ValueError, TypeError) as exc:
            raise ConfigurationError(f"auth.jwt: the key does not suit {name}") from exc
        if weakness := algorithm.check_key_length(key):
            log.warning("weak key for tokens", algorithm=name, reason=weakness)
            # Said once, here; the library would say it for every handshake.
            warnings.filterwarnings("ignore", category=InsecureKeyLengthWarning)
    return key


def _candidates(places: Iterable[TokenPlace], handshake: Handshake) -> Iterator[tuple[str, str]]:
    """What may be a token, with the subprotocol that carries it."""
    for place in places:
        match place.kind:
            case "header":
                scheme, _, text = handshake.header("authorization").partition(" ")
                if scheme.lower() == "bearer":
                    yield text.strip(), ""
            case "query":
                yield query_variables(handshake.query).get(place.name, ""), ""
            case "cookie":
                yield _cookie(handshake, place.name), ""
            case "subprotocol":
                for offer in handshake.subprotocols:
                    text = offer.removeprefix(_PREFIX)
                    if len(text.split(".")) == _SEGMENTS:
                        yield text, offer


def _cookie(handshake: Handshake, name: str) -> str:
    for header, value in handshake.headers:
        if header == "cookie":
            for part in value.split(";"):
                key, _, text = part.strip().partition("=")
                if key == name:
                    return text.strip('"')
    return ""


def _moment(value: object) -> float | None:
    """A NumericDate (RFC 7519 section 2), None where there is none; ValueError for another."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("not a moment")
    return float(value)


def _user(value: object) -> str:
    """`sub`; applications also write numbers there. ValueError for what cannot be a user."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("not a user")  # noqa: TRY004 - bad data, whatever its type
    user = str(value)
    if not user.isprintable() or len(user.encode()) > _MAX_USER:
        raise ValueError("not a user")
    return user


def _channels(value: object) -> tuple[str, ...]:
    """Names and patterns, of one or of a list; whatever else is there permits nothing."""
    names = value if isinstance(value, list) else [value]
    return tuple(name for name in names[:_MAX_CHANNELS] if isinstance(name, str) and name)
