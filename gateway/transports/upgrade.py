"""A client that is let in: what it is answered, and the WebSocket that its connection becomes."""

import asyncio

from . import deflate, handshake
from .commons import Commons
from .doorman import Welcome
from .head import RequestHead
from .websocket import WebSocket


def upgrade(
    transport: asyncio.Transport,
    head: RequestHead,
    remote: str,
    welcome: Welcome,
    commons: Commons,
) -> tuple[WebSocket, bytes]:
    """The WebSocket, and the 101 that is to be written before it is opened."""
    bits, extensions = 0, ""
    if welcome.terms.compression:
        offers = head.headers.getall("sec-websocket-extensions", ())
        bits, extensions = deflate.negotiate(",".join(offers))
    key = head.headers["sec-websocket-key"].strip()
    answer = handshake.encode_acceptance(key, welcome.subprotocol, extensions, welcome.set_cookies)
    websocket = WebSocket(transport, commons, welcome.terms, remote, bits)
    return websocket, answer
