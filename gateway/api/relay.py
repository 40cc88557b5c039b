"""The publisher of the Basic HTTP Push Relay Protocol (rev. 2.23): /publish?channel=ID.

For applications that were written for nginx_http_push_module or Nchan. PUT creates a channel,
POST sends a message (and creates the channel, also one that must be opened), GET asks, DELETE
closes. Every success tells about the channel, as text or as JSON by the Accept header.
"""

from typing import Final

from aiohttp import web

from gateway.channels.broker import ChannelState
from gateway.channels.publishing import Source
from gateway.channels.service import ChannelService

from .answers import answer
from .bodies import read_message
from .services import services_of

_VARY: Final = {"Vary": "Accept"}


def _told(request: web.Request, state: ChannelState, status: int = 200) -> web.Response:
    """The channel's information, in the words of that protocol's first implementation."""
    position = state.position
    last = f"{position.offset}:{position.epoch}" if position.epoch else ""
    if "json" in request.headers.get("Accept", "").lower():
        information = {
            "messages": state.messages,
            "subscribers": state.subscribers,
            "last_message_id": last,
        }
        return answer(information, status, _VARY)
    text = (
        f"queued messages: {state.messages}\r\n"
        f"active subscribers: {state.subscribers}\r\n"
        f"last message id: {last}\r\n"
    )
    return web.Response(text=text, status=status, headers=_VARY)


async def _known(channels: ChannelService, name: str) -> ChannelState:
    state = await channels.state(name)
    if state is None:
        raise web.HTTPNotFound(text=f"{name}: there is no such channel")
    return state


def _addressed(request: web.Request) -> tuple[ChannelService, str]:
    names = request.query.getall("channel", [])
    if len(names) != 1:
        raise web.HTTPBadRequest(text="channel: exactly one id is needed, /publish?channel=ID")
    return services_of(request).channels, names[0]


async def ask(request: web.Request) -> web.Response:
    """GET: 200 for a channel that exists, else 404."""
    channels, name = _addressed(request)
    return _told(request, await _known(channels, name))


async def create(request: web.Request) -> web.Response:
    """PUT: 200, the channel exists now."""
    channels, name = _addressed(request)
    await channels.open(name)
    return _told(request, await _known(channels, name))


async def send(request: web.Request) -> web.Response:
    """POST: 201 when somebody received it, else 202."""
    channels, name = _addressed(request)
    explicit = channels.rules(name).explicit
    message = await read_message(request)
    if explicit:
        await channels.open(name)
    receipt = await channels.publish(name, message, source=Source.API)
    state = await channels.state(name)
    messages = state.messages if state is not None else 0
    sent = ChannelState(name, receipt.subscribers, messages, receipt.position)
    return _told(request, sent, 201 if receipt.subscribers else 202)


async def delete(request: web.Request) -> web.Response:
    """DELETE: 200 when it existed, its subscribers got 410; else 404."""
    channels, name = _addressed(request)
    state = await _known(channels, name)
    if not await channels.close(name):
        raise web.HTTPNotFound(text=f"{name}: there is no such channel")
    return _told(request, state)
