"""Who may call: whoever knows the key; no page of another site; health probes always."""

import asyncio
import base64
import binascii
import hmac
import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from .services import services_of

_OPEN: Final = frozenset({"/health/live", "/health/ready"})
# A browser cannot send a Bearer key by itself, but asks for a password and sends that with the
# page's own requests. Only for reading: a password the browser adds is no proof of intent.
_PAGES: Final = frozenset({"/", "/status"})


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let the request through or refuse it, before anything of it is read."""
    if request.rel_url.raw_path in _OPEN:
        return await handler(request)
    key = services_of(request).api_key
    if key:
        _demand_key(request, key)
    elif not _is_addressed_to_this_machine(request.host, request.transport):
        raise web.HTTPForbidden(text="without a key only 127.0.0.1 and localhost are answered")
    if not _is_from_here(request):
        raise web.HTTPForbidden(text="pages of other sites may not call the API")
    return await handler(request)


def _demand_key(request: web.Request, key: str) -> None:
    page = request.rel_url.raw_path in _PAGES and request.method in {"GET", "HEAD"}
    if not _is_key(_shown_key(request.headers, password=page), key):
        challenge = 'Basic realm="wsgate", charset="UTF-8"' if page else 'Bearer realm="wsgate"'
        raise web.HTTPUnauthorized(
            text="a valid key is needed", headers={"WWW-Authenticate": challenge}
        )


def admits(headers: Mapping[str, str], key: str, transport: asyncio.BaseTransport | None) -> bool:
    """Whether a program that sent these headers may call; what a page sends is not asked here."""
    if key:
        return _is_key(_shown_key(headers, password=False), key)
    return _is_addressed_to_this_machine(headers.get("Host", ""), transport)


def _is_key(shown: str, key: str) -> bool:
    # Compared as bytes: compare_digest refuses text that is not ASCII.
    return hmac.compare_digest(shown.encode(errors="surrogateescape"), key.encode())


def _shown_key(headers: Mapping[str, str], *, password: bool) -> str:
    if "X-API-Key" in headers:
        return headers["X-API-Key"]
    scheme, _, value = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic" and password:
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, ValueError):
            return ""
    return ""


def _is_from_here(request: web.Request) -> bool:
    """Whether no browser says that a page of another origin makes the call."""
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc.lower() == request.host.lower()


def _is_addressed_to_this_machine(host: str, transport: asyncio.BaseTransport | None) -> bool:
    """Whether the Host names this machine, when it is TCP that carries the request.

    A page may have its own name resolve to 127.0.0.1 and would then be of the same origin as
    the API; its Host header still has that name.
    """
    if not isinstance(transport and transport.get_extra_info("peername"), tuple):
        return True
    return _names_this_machine(host)


@lru_cache(maxsize=64)
def _names_this_machine(authority: str) -> bool:
    """Kept, because callers use the same name for every call."""
    host = urlsplit(f"//{authority}").hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
