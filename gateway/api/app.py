"""The internal listener as an aiohttp application; which call goes where."""

from typing import Final

from aiohttp import web

from . import batch, channels, connections, operations, relay
from .answers import PROTECTION, answer_failures
from .guard import guard
from .services import CURRENT, ApiServices, Current

_CHANNEL: Final = "/channels/{name}"
_CONNECTION: Final = "/connections/{id}"


def create_api(services: ApiServices) -> web.Application:
    """Everything of the internal listener. Whoever runs it decides about addresses."""
    app = web.Application(middlewares=[answer_failures, guard])
    app[CURRENT] = Current(services)
    app.on_response_prepare.append(_protect)
    app.add_routes(
        [
            web.get("/", operations.show_page),
            web.get("/status", operations.show_status),
            web.get("/metrics", operations.show_metrics),
            web.get("/health/live", operations.live),
            web.get("/health/ready", operations.ready),
            web.get("/channels", channels.list_channels),
            web.post("/channels", channels.publish_all),
            web.put(_CHANNEL, channels.open_channel),
            web.get(_CHANNEL, channels.show_channel),
            web.post(_CHANNEL, channels.publish),
            web.delete(_CHANNEL, channels.close_channel),
            web.get(f"{_CHANNEL}/presence", channels.show_presence),
            web.get(f"{_CHANNEL}/history", channels.show_history),
            web.post("/batch", batch.publish_batch),
            web.get(_CONNECTION, connections.show_connection),
            web.post(_CONNECTION, connections.push),
            web.delete(_CONNECTION, connections.close_connection),
            web.post(f"{_CONNECTION}{_CHANNEL}", connections.subscribe),
            web.delete(f"{_CONNECTION}{_CHANNEL}", connections.unsubscribe),
            web.get("/publish", relay.ask),
            web.put("/publish", relay.create),
            web.post("/publish", relay.send),
            web.delete("/publish", relay.delete),
        ]
    )
    return app


def replace_services(app: web.Application, services: ApiServices) -> None:
    """Go on with other services; calls under way end with those they began with."""
    app[CURRENT].services = services


async def _protect(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(PROTECTION)
