"""What reaches aiohttp's server and is ours all the same.

Long polls live there. And a proxy that keeps its connections open may send an upgrade, or ask
for an event stream, on a connection that has carried ordinary requests: then the socket is taken
back from aiohttp's server and goes through the front door after all.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from aiohttp import web

from gateway.sessions.client import TransportKind

from . import handshake, longpoll
from .describe import describe
from .front import DRAINING, Entrance, FrontDoor
from .head import RequestHead

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def middleware(entrance: Callable[[], Entrance]) -> Any:
    """For the public `web.Application`; what is none of our business goes to its handlers."""

    @web.middleware
    async def take(request: web.Request, handler: Handler) -> web.StreamResponse:
        taken = await respond(request, entrance())
        return await handler(request) if taken is None else taken

    return take


async def respond(request: web.BaseRequest, entrance: Entrance) -> web.StreamResponse | None:
    """Answer, or None when the request is neither upgrade, event stream nor long poll."""
    head = RequestHead.of_request(request)
    if handshake.is_upgrade(head.headers):
        return _take_back(request, head, entrance)
    if head.method != "GET":
        return None
    offered = entrance.doorman.offers(head.path)
    if head.wants_events and TransportKind.SSE in offered:
        return _take_back(request, head, entrance)
    if TransportKind.LONGPOLL not in offered or request.transport is None:
        return None
    if entrance.draining:
        return longpoll.refusing(DRAINING)
    asked = describe(head, request.transport, TransportKind.LONGPOLL, entrance.proxies)
    return await longpoll.poll(asked, entrance.doorman)


class _Tail:
    """Takes what aiohttp's server has already read behind the head of an upgrade."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        """The socket is ours by then."""


def _take_back(
    request: web.BaseRequest, head: RequestHead, entrance: Entrance
) -> web.StreamResponse:
    """Give the socket back to the front door; aiohttp's protocol is told that it is gone."""
    protocol, transport = request.protocol, request.transport
    response = web.Response(status=HTTPStatus.NO_CONTENT)
    if transport is None:
        return response
    tail = _Tail()
    protocol.set_parser(tail)  # type: ignore[arg-type] # only these two methods are called
    front = FrontDoor(entrance)
    # Without its transport aiohttp's protocol can close nothing, and what we return goes nowhere.
    protocol.transport = None
    transport.set_protocol(front)
    protocol.connection_lost(None)
    front.go_on(transport, head, tail.data)
    return response
