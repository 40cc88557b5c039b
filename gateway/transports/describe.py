"""A request's head as sessions want it."""

import asyncio
from functools import lru_cache
from typing import Final

from multidict import CIMultiDictProxy

from gateway.sessions.client import WEBSOCKET, Handshake, TransportKind

from . import handshake, longpoll
from .head import RequestHead
from .proxies import TrustedProxies, split_address


def describe(
    head: RequestHead,
    transport: asyncio.BaseTransport,
    kind: TransportKind,
    proxies: TrustedProxies,
) -> Handshake:
    """Everything that is known of a client before anybody has judged it."""
    headers = head.headers
    origin = proxies.origin(
        transport.get_extra_info("peername"),
        headers,
        encrypted=transport.get_extra_info("sslcontext") is not None,
    )
    server, server_port = _own_address(transport.get_extra_info("sockname"))
    path, query = head.split()
    major, minor = head.version
    return Handshake(
        kind=kind,
        path=path,
        query=query,
        headers=tuple([(name.lower(), value) for name, value in headers.items()]),
        remote=origin.address,
        remote_port=origin.port,
        server=server,
        server_port=server_port,
        scheme=origin.scheme,
        http_version=f"{major}.{minor}",
        subprotocols=handshake.subprotocols(headers),
        resume="" if kind is WEBSOCKET else _resume(kind, headers),
    )


_own_address: Final = lru_cache(maxsize=64)(split_address)
"""Kept, because clients come to the same few addresses."""


def _resume(kind: TransportKind, headers: CIMultiDictProxy[str]) -> str:
    if kind is TransportKind.SSE:
        return headers.get("last-event-id", "")
    return longpoll.resume_of(headers)
