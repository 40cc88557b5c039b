"""Which web pages may connect: the Origin header against the configuration.

A browser sends Origin with every WebSocket handshake and lets no script change it (RFC 6455
section 10.2); without the check any page could use a visitor's cookies here. A client that sends
none is not a browser.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Origins:
    """The `allowed_origins` of one route."""

    def __init__(self, allowed: Iterable[str]) -> None:
        entries = set(allowed)
        self._any = "*" in entries
        self._same = "same-origin" in entries
        self._null = "null" in entries
        self._patterns = [
            _pattern(entry) for entry in sorted(entries - {"*", "same-origin", "null"})
        ]

    def permit(self, origin: str, *, scheme: str, host: str) -> bool:
        """Whether a page of this origin may connect to `scheme://host` (the Host header)."""
        if self._any or not origin:
            return True
        if origin.strip().lower() == "null":
            return self._null
        found = _normal(origin)
        if found is None:
            return False
        if self._same and found == _normal(f"{scheme}://{host}"):
            return True
        return any(pattern.fullmatch(found) for pattern in self._patterns)


@lru_cache(maxsize=256)
def _normal(origin: str) -> str | None:
    """`scheme://host:port` in lower case with the port always there; None when it is no origin.

    Kept, because the pages of one site all have the same one.
    """
    try:
        parts = urlsplit(origin.strip().lower())
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or parts.scheme not in _DEFAULT_PORTS:
        return None
    if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        return None
    if port is None:
        port = _DEFAULT_PORTS[parts.scheme]
    return f"{parts.scheme}://{parts.hostname}:{port}"


def _pattern(entry: str) -> re.Pattern[str]:
    """`*.` stands for one or more labels, `:*` for any port; everything else for itself."""
    scheme, _, rest = entry.partition("://")
    any_port = rest.endswith(":*")
    host = rest.removesuffix(":*").rstrip("/")
    wildcard = host.startswith("*.")
    normal = _normal(f"{scheme}://{host.removeprefix('*.')}")
    if normal is None:
        raise ValueError(f"{entry!r} is not an origin")
    _, _, place = normal.partition("://")
    name, _, port = place.rpartition(":")
    labels = r"(?:[a-z0-9_-]+\.)+" if wildcard else ""
    tail = r"\d+" if any_port else port
    return re.compile(rf"{re.escape(scheme)}://{labels}{re.escape(name)}:{tail}")
