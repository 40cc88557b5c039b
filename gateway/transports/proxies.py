"""Who is the client, when proxies stand in between.

Only what a trusted proxy says counts: X-Forwarded-For is walked from the right, as each proxy
appends whom it saw, and the first address that is not trusted itself is the client. A value that
cannot be read ends the walk at the last one that could. No I/O.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final

import msgspec
from multidict import CIMultiDictProxy

UNIX: Final = "unix:"
"""The address of a peer on a unix socket, and how to write in `trusted_proxies` that it counts."""

_SECURE: Final = frozenset({"https", "wss"})
_PLAIN: Final = frozenset({"http", "ws"})
_MAX_HOPS: Final = 64


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Where a request comes from; `port` is 0 where a proxy did not tell."""

    address: str
    port: int
    scheme: str


class TrustedProxies:
    """The networks of `trusted_proxies`; raises ValueError for what is none."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        named = list(networks)
        self._unix = any(name in {UNIX, "unix"} for name in named)
        self._networks = tuple(
            ip_network(name, strict=False) for name in named if name not in {UNIX, "unix"}
        )

    def _trusts(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._networks)

    def origin(self, peername: Any, headers: CIMultiDictProxy[str], *, encrypted: bool) -> Origin:
        """The client behind the peer. `encrypted` says whether the peer spoke TLS with us."""
        address, port = split_address(peername)
        scheme = "https" if encrypted else "http"
        if not (self._networks or self._unix):
            return Origin(address, port, scheme)
        peer = _parse(address)
        if not (self._unix if peer is None else self._trusts(peer)):
            return Origin(address, port, scheme)

        hops = _listed(headers, "x-forwarded-for")
        schemes = _listed(headers, "x-forwarded-proto")
        chosen = 0
        for place, hop in enumerate(hops[: -_MAX_HOPS - 1 : -1]):
            found = _parse_hop(hop)
            if found is None:
                break
            client, port = found
            address, chosen = str(client), place
            if not self._trusts(client):
                break
        return Origin(address, port, _scheme(schemes, len(hops), chosen, scheme))


def split_address(name: Any) -> tuple[str, int]:
    """Address and port of what a transport calls peername or sockname."""
    if isinstance(name, tuple) and len(name) >= 2:  # noqa: PLR2004 - host and port, at least
        host, port = name[:2]
        if ":" in host:
            host = host.partition("%")[0]
            if "." in host:
                host = host.removeprefix("::ffff:")
        return host, port
    return UNIX, 0


def _listed(headers: CIMultiDictProxy[str], name: str) -> list[str]:
    values = headers.getall(name, ())
    return [part.strip() for value in values for part in value.split(",")]


def _scheme(schemes: list[str], hops: int, place: int, default: str) -> str:
    """What the client's own proxy said; with one value for all, that."""
    if not schemes:
        return default
    said = schemes[-1 - place] if len(schemes) == hops else schemes[-1]
    said = said.lower()
    return "https" if said in _SECURE else "http" if said in _PLAIN else default


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if isinstance(mapped, IPv4Address) else address


def _parse_hop(text: str) -> tuple[IPv4Address | IPv6Address, int] | None:
    """`192.0.2.1`, `192.0.2.1:5000`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:5000`."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, ""
    address = _parse(host)
    if address is None:
        return None
    return address, int(port) if port.isascii() and port.isdigit() and len(port) < 6 else 0  # noqa: PLR2004 - ports have five digits
