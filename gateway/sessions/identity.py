"""Who a connection is: its id, its user, and what PHP hears of it with every event.

What the handshake brought is encoded once. What replies change (cookies, meta, user, subprotocol)
stands in a block of its own that is encoded anew when, rarely, it changes.
"""

import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable
from functools import lru_cache
from os import urandom
from typing import Final

from fastcgi import params
from gateway.backend import cookies, environ
from gateway.errors import ReplyError
from gateway.routing.patterns import PatternSet

from .client import Handshake

NODE_LENGTH: Final = 8
_RANDOM_BYTES: Final = 18  # 144 bits, 24 characters without padding
ID_LENGTH: Final = NODE_LENGTH + 24

_NOTHING: Final = PatternSet(())
_NOTHING_SAID: Final = params.encode([("WS_SUBPROTOCOL", "")])
_META_LIMIT: Final = 8 * 1024
_USER_LIMIT: Final = 1024


def new_node() -> str:
    """A name for this worker's life: random, URL-safe, says nothing about the machine."""
    return secrets.token_urlsafe(6)


def new_id(node: str) -> str:
    """An id for one connection; its first characters tell which worker holds it."""
    return node + urlsafe_b64encode(urandom(_RANDOM_BYTES)).decode()


class Identity:
    """A connection's id, user, cookies and meta, with the params they become.

    `serial_key` is the cookie by which `serialize_by` lines connections up, or empty. `granted`
    are the channels that the token lets the client join, besides those of the route.
    """

    __slots__ = (
        "_cookie",
        "_meta",
        "_path",
        "_serial_cookie",
        "block",
        "claims",
        "granted",
        "id",
        "on_change",
        "serial_key",
        "state_block",
        "subprotocol",
        "user",
    )

    def __init__(
        self,
        connection_id: str,
        *,
        block: bytes,
        cookie: str = "",
        user: str = "",
        claims: str = "",
        subprotocol: str = "",
        serial_cookie: str = "",
        granted: tuple[str, ...] = (),
    ) -> None:
        self.id = connection_id
        self.block = block
        self.user = user
        self.claims = claims
        self.granted = PatternSet(granted) if granted else _NOTHING
        self.subprotocol = subprotocol
        self._cookie = cookie
        self._meta: dict[str, str] | None = None
        self._path: str | None = None
        self._serial_cookie = serial_cookie
        self.on_change: Callable[[], None] | None = None
        """Called when what PHP is to hear of the connection has changed."""
        self._refresh()

    @property
    def meta(self) -> dict[str, str]:
        """What PHP stored on the connection."""
        return dict(self._meta or {})

    @property
    def path(self) -> str:
        """The path of the handshake, as it was on the wire; read from the params when needed."""
        if self._path is None:
            target = dict(params.decode(self.block)).get(b"REQUEST_URI", b"")
            self._path = target.partition(b"?")[0].decode("utf-8", "surrogateescape")
        return self._path

    def remember_cookies(self, lines: tuple[str, ...], now: float) -> None:
        """Take over the Set-Cookie lines of a reply; `now` is Unix time."""
        self._cookie = cookies.remember(self._cookie, lines, now)
        self._refresh()

    def set_meta(self, name: str, value: str) -> None:
        """Store a value for PHP; an empty one is forgotten. ReplyError past 8 KiB in all."""
        key = name.upper().replace("-", "_")
        if not key.replace("_", "").isalnum() or not key.isascii():
            raise ReplyError(f"meta {name[:64]!r}: a name has letters, digits and hyphens")
        if "\0" in value:
            raise ReplyError(f"meta {name}: the value holds a NUL")
        meta = self.meta
        meta.pop(key, None)
        if value:
            meta[key] = value
        size = sum(len(name) + len(text.encode()) for name, text in meta.items())
        if size > _META_LIMIT:
            raise ReplyError(f"meta of one connection has {size} bytes, limit {_META_LIMIT}")
        self._meta = meta or None
        self._refresh()

    def set_user(self, user: str) -> None:
        """PHP says who this is. ReplyError past 1 KiB."""
        size = len(user.encode())
        if size > _USER_LIMIT:
            raise ReplyError(f"the user has {size} bytes, limit {_USER_LIMIT}")
        self.user = user
        self._refresh()

    def set_subprotocol(self, subprotocol: str) -> None:
        """PHP chose what is spoken."""
        self.subprotocol = subprotocol
        self._refresh()

    def _refresh(self) -> None:
        pairs: list[tuple[bytes | str, str]] = []
        if self._meta:
            pairs += [(f"WS_META_{name}", value) for name, value in self._meta.items()]
        if self._cookie:
            pairs.append((b"HTTP_COOKIE", self._cookie))
        if self.user:
            pairs.append((b"WS_USER", self.user))
        if self.claims:
            pairs.append((b"WS_CLAIMS", self.claims))
        if pairs or self.subprotocol:
            pairs.append((b"WS_SUBPROTOCOL", self.subprotocol))
            self.state_block = params.encode(pairs)
        else:
            self.state_block = _NOTHING_SAID
        self.serial_key = ""
        if self._serial_cookie and (value := _value_of(self._cookie, self._serial_cookie)):
            self.serial_key = f"{self._serial_cookie}={value}"
        if self.on_change is not None:
            self.on_change()


def _value_of(cookie: str, name: str) -> str:
    for part in cookie.split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return ""


def connection_block(
    handshake: Handshake,
    connection_id: str,
    connected_at_ms: int,
    variables: dict[str, str],
    push_url: str,
) -> bytes:
    """The params of a connection that never change, encoded.

    Raises environ.HeaderError for a header that must not reach PHP, and LocalProtocolError when
    a value is too large for FastCGI.
    """
    target = f"{handshake.path}?{handshake.query}" if handshake.query else handshake.path
    pairs: list[tuple[bytes | str, str]] = [
        (b"QUERY_STRING", handshake.query),
        (b"REQUEST_URI", target),
        (b"REMOTE_ADDR", handshake.remote),
        (b"REMOTE_PORT", str(handshake.remote_port)),
        (b"WS_CONNECTION_ID", connection_id),
        (b"WS_CONNECTED_AT", str(connected_at_ms)),
        (b"WS_PUSH_URL", push_url),
    ]
    if variables:
        pairs += [(f"WS_PATH_{name.upper()}", value) for name, value in variables.items()]
    pairs += environ.http_headers(handshake.headers)
    server = _server_block(
        handshake.scheme,
        handshake.http_version,
        handshake.header("host"),
        handshake.server,
        handshake.server_port,
    )
    return server + params.encode(pairs)


@lru_cache(maxsize=32)
def _server_block(scheme: str, version: str, host: str, address: str, port: int) -> bytes:
    """What of it is about us. Kept, because clients come to the same few names and addresses."""
    pairs = [
        ("REQUEST_SCHEME", scheme),
        ("SERVER_PROTOCOL", f"HTTP/{version}"),
        ("SERVER_NAME", _host(host) or address),
        ("SERVER_ADDR", address),
        ("SERVER_PORT", str(port)),
    ]
    if scheme == "https":
        pairs.append(("HTTPS", "on"))
    return params.encode(pairs)


def _host(value: str) -> str:
    """The Host header without its port."""
    if value.startswith("["):
        return value.partition("]")[0].lstrip("[")
    return value.partition(":")[0]
