"""What the public listener answers to requests that are no WebSocket handshakes."""

from collections.abc import Callable

from aiohttp import web

from gateway.sessions.client import TransportKind
from gateway.transports.doorman import Doorman
from gateway.transports.front import Entrance
from gateway.transports.plain import middleware

Extend = Callable[[web.Application], None]


def create_public(
    doorman: Doorman,
    extend: Extend | None = None,
    entrance: Callable[[], Entrance] | None = None,
) -> web.Application:
    """404 where no route is, 426 where a WebSocket is expected; `extend` adds pages before.

    Long polls are answered here; upgrades and event streams on kept connections go back to the
    entrance, which is asked for when the first request comes.
    """
    middlewares = () if entrance is None else (middleware(entrance),)
    app = web.Application(client_max_size=64 * 1024, middlewares=middlewares)
    if extend is not None:
        extend(app)

    async def answer(request: web.Request) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        if TransportKind.WEBSOCKET in doorman.offers(path):
            return web.json_response(
                {
                    "error": {
                        "code": 426,
                        "type": "bad_request",
                        "message": "this address speaks WebSocket",
                    }
                },
                status=426,
                headers={"Upgrade": "websocket", "Connection": "Upgrade"},
            )
        error = {"code": 404, "type": "not_found", "message": "there is nothing here"}
        return web.json_response({"error": error}, status=404)

    app.router.add_route("*", "/{path:.*}", answer)
    return app
