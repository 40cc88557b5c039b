"""The calls about one connection: its state, a push, its end, its channels."""

from typing import Final

from aiohttp import web

from gateway.codes import CloseCode, may_be_sent

from .answers import answer
from .bodies import number_of, read_message
from .services import services_of

# RFC 6455 section 5.5.1: a control frame holds 125 bytes, two of them are the code.
_MAX_REASON: Final = 123
_MOST_CODE: Final = 4999


async def show_connection(request: web.Request) -> web.Response:
    """GET /connections/{id}."""
    state = await services_of(request).connections.state(request.match_info["id"])
    return answer(state)


async def push(request: web.Request) -> web.Response:
    """POST /connections/{id}: one message to this connection alone."""
    name = request.match_info["id"]
    message = await read_message(request)
    await services_of(request).connections.push(name, message.data, message.content_type)
    return answer({"id": name, "sent": True})


async def close_connection(request: web.Request) -> web.Response:
    """DELETE /connections/{id}?code=&reason=."""
    name = request.match_info["id"]
    code = number_of(request, "code", least=CloseCode.NORMAL, most=_MOST_CODE) or CloseCode.NORMAL
    reason = request.query.get("reason", "")
    if not may_be_sent(code):
        raise web.HTTPBadRequest(text=f"code: {code} may not be sent")
    if len(reason.encode(errors="replace")) > _MAX_REASON or not reason.isprintable():
        raise web.HTTPBadRequest(text=f"reason: at most {_MAX_REASON} bytes of visible text")
    await services_of(request).connections.close(name, int(code), reason)
    return answer({"id": name, "closed": True})


async def subscribe(request: web.Request) -> web.Response:
    """POST /connections/{id}/channels/{name}."""
    connection, channel = request.match_info["id"], request.match_info["name"]
    await services_of(request).connections.subscribe(connection, channel)
    return answer({"id": connection, "subscribed": channel})


async def unsubscribe(request: web.Request) -> web.Response:
    """DELETE /connections/{id}/channels/{name}."""
    connection, channel = request.match_info["id"], request.match_info["name"]
    await services_of(request).connections.unsubscribe(connection, channel)
    return answer({"id": connection, "unsubscribed": channel})
