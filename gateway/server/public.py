"""What the public listener answers to requests that are no WebSocket handshakes."""

import logging
from collections.abc import Callable

from aiohttp import web, web_response
from aiohttp.http import HttpProcessingError

from gateway.sessions.client import TransportKind
from gateway.transports.doorman import Doorman
from gateway.transports.front import Entrance
from gateway.transports.plain import middleware

Extend = Callable[[web.Application], None]


# The library's name and version would also be in answers that no application sees: those to
# requests that cannot be read. So it is not a header of an application's.
setattr(web_response, "SERVER_SOFTWARE", "wsgate")  # noqa: B010 - it is not in the stubs


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether a line of aiohttp's server is about us, not about a request that is none.

    Whoever sends such requests would fill the log with tracebacks, and with what was sent.
    """
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


logging.getLogger("aiohttp.server").addFilter(_is_ours)


def create_public(
    doorman: Doorman,
    extend: Extend | None = None,
    entrance: Callable[[], Entrance] | None = None,
) -> web.Application:
    """404 where no route is, 426 where a WebSocket is expected, 406 where an event stream is.

    `extend` adds pages before.

    Long polls are answered here; upgrades and event streams on kept connections go back to the
    entrance, which is asked for when the first request comes.
    """
    middlewares = () if entrance is None else (middleware(entrance),)
    app = web.Application(client_max_size=64 * 1024, middlewares=middlewares)
    if extend is not None:
        extend(app)

    async def answer(request: web.Request) -> web.StreamResponse:
        offered = doorman.offers(request.raw_path.partition("?")[0])
        if TransportKind.WEBSOCKET in offered:
            return _error(
                426,
                "this address speaks WebSocket",
                {"Upgrade": "websocket", "Connection": "Upgrade"},
            )
        if TransportKind.LONGPOLL in offered:
            return _error(405, "this address is read with GET", {"Allow": "GET"})
        if TransportKind.SSE in offered:
            return _error(406, "this address speaks text/event-stream")
        return _error(404, "there is nothing here", kind="not_found")

    app.router.add_route("*", "/{path:.*}", answer)
    return app


def _error(
    status: int,
    message: str,
    headers: dict[str, str] | None = None,
    kind: str = "bad_request",
) -> web.Response:
    error = {"code": status, "type": kind, "message": message}
    return web.json_response({"error": error}, status=status, headers=headers)
