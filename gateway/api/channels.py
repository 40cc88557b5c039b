"""The calls about channels: open, close, ask, publish, list, presence, history."""

import base64
from typing import Final

import msgspec
from aiohttp import web

from gateway.channels.broker import ChannelState
from gateway.channels.publication import Kind, Position, Publication
from gateway.channels.publishing import Source
from gateway.channels.service import ChannelService
from gateway.errors import ChannelNotFoundError

from .answers import answer, shown_position, shown_receipt
from .bodies import number_of, read_message
from .services import services_of

_LIST_LIMIT: Final = 100
_MOST_LISTED: Final = 1000
_MOST_KEPT: Final = 10**9
_LONGEST: Final = 2**63 - 1


def _channels(request: web.Request) -> ChannelService:
    return services_of(request).channels


def shown_state(state: ChannelState) -> dict[str, object]:
    """A channel as the API shows it."""
    return {
        "name": state.name,
        "subscribers": state.subscribers,
        "messages": state.messages,
        "position": shown_position(state.position),
    }


def _shown_publication(publication: Publication) -> dict[str, object]:
    """A kept publication: JSON as a value, text as a string, binary as base64."""
    data = publication.message.data
    offset = publication.position.offset
    if publication.kind is Kind.JSON:
        return {"data": msgspec.Raw(data), "offset": offset}
    if publication.kind is Kind.TEXT:
        return {"data": data.decode(), "offset": offset}
    return {"data": base64.b64encode(data).decode(), "encoding": "base64", "offset": offset}


async def open_channel(request: web.Request) -> web.Response:
    """PUT /channels/{name}: 201 opened, 200 was open."""
    name, channels = request.match_info["name"], _channels(request)
    opened = await channels.open(name)
    state = await channels.state(name)
    if state is None:
        raise ChannelNotFoundError(name)  # closed by somebody else at the same moment
    return answer(shown_state(state), 201 if opened else 200)


async def show_channel(request: web.Request) -> web.Response:
    """GET /channels/{name}."""
    name = request.match_info["name"]
    state = await _channels(request).state(name)
    if state is None:
        raise web.HTTPNotFound(text=f"{name}: there is no such channel")
    return answer(shown_state(state))


async def publish(request: web.Request) -> web.Response:
    """POST /channels/{name}: 201 somebody was subscribed, 202 nobody."""
    name, channels = request.match_info["name"], _channels(request)
    channels.rules(name)  # a wrong name is refused before its body is read
    receipt = await channels.publish(name, await read_message(request), source=Source.API)
    return answer(shown_receipt(receipt), 201 if receipt.subscribers else 202)


async def close_channel(request: web.Request) -> web.Response:
    """DELETE /channels/{name}: its subscribers are told."""
    name = request.match_info["name"]
    if not await _channels(request).close(name):
        raise web.HTTPNotFound(text=f"{name}: there is no such channel")
    return answer({"name": name, "closed": True})


async def list_channels(request: web.Request) -> web.Response:
    """GET /channels: by name, a page at a time."""
    limit = number_of(request, "limit", least=1, most=_MOST_LISTED) or _LIST_LIMIT
    match, after = request.query.get("match", "*"), request.query.get("after", "")
    states, cursor = await _channels(request).list(match, limit=limit, after=after)
    return answer({"channels": [shown_state(state) for state in states], "next": cursor})


async def publish_all(request: web.Request) -> web.Response:
    """POST /channels?match=*: the same message to every open channel of that pattern."""
    match = request.query.get("match", "")
    if not match:
        raise web.HTTPBadRequest(text="match: which channels? * for all of them")
    sent = await _channels(request).publish_all(
        match, await read_message(request), source=Source.API
    )
    body = {"channels": sent.channels, "subscribers": sent.subscribers}
    return answer(body, 201 if sent.subscribers else 202)


async def show_presence(request: web.Request) -> web.Response:
    """GET /channels/{name}/presence: who is there, each connection once."""
    name = request.match_info["name"]
    members = await _channels(request).presence(name)
    clients = [{"id": member.id, "user": member.user} for member in members]
    return answer({"channel": name, "count": len(clients), "clients": clients})


async def show_history(request: web.Request) -> web.Response:
    """GET /channels/{name}/history: the newest, or what followed ?offset=&epoch=."""
    name = request.match_info["name"]
    limit = number_of(request, "limit", least=1, most=_MOST_KEPT)
    offset = number_of(request, "offset", least=0, most=_LONGEST)
    since = None if offset is None else Position(offset, request.query.get("epoch", ""))
    page = await _channels(request).history(name, since=since, limit=limit)
    body: dict[str, object] = {
        "channel": name,
        "publications": [_shown_publication(publication) for publication in page.publications],
        "position": shown_position(page.position),
    }
    if since is not None:
        body["recovered"] = page.recovered
    return answer(body)
