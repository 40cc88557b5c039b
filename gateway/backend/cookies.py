"""The cookies of one connection: what the handshake brought, as PHP's replies changed it.

A socket has no later responses that could carry Set-Cookie to a browser, so the gateway keeps
what PHP sets and sends it with the connection's later events; a session started over the socket
then stays the same session. Attributes other than the expiry are ignored: the cookie never leaves
this connection.
"""

from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from typing import Final

LIMIT: Final = 16 * 1024
"""Bytes of Cookie header kept for a connection; a cookie that would pass it is not remembered."""


def remember(cookie: str, set_cookies: Iterable[str], now: float) -> str:
    """The Cookie header after replies' Set-Cookie lines; `now` is Unix time.

    A cookie set again keeps its place, an expired one goes (RFC 6265 section 5.3).
    """
    jar: dict[str, str] = {}
    for part in cookie.split(";"):
        name, equals, value = part.strip().partition("=")
        if equals:
            # The first of two cookies with one name wins, as in PHP.
            jar.setdefault(name, value)
    for line in set_cookies:
        pair, *attributes = line.split(";")
        name, equals, value = pair.strip().partition("=")
        if not equals or not name:
            continue
        if _expired(attributes, now):
            jar.pop(name, None)
        else:
            before = jar.get(name)
            jar[name] = value
            if len(_header(jar)) > LIMIT:
                if before is None:
                    del jar[name]
                else:
                    jar[name] = before
    return _header(jar)


def _header(jar: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in jar.items())


def _expired(attributes: list[str], now: float) -> bool:
    """Whether Max-Age, or without it Expires, lies in the past; what cannot be read does not."""
    expires: float | None = None
    for attribute in attributes:
        name, _, value = attribute.strip().partition("=")
        try:
            match name.lower():
                case "max-age":
                    return int(value) <= 0
                case "expires":
                    expires = parsedate_to_datetime(value.strip()).timestamp()
        except (ValueError, OverflowError):
            continue
    return expires is not None and expires <= now
