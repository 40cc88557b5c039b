"""How the API answers: JSON, and every failure with its true status in one shape."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import msgspec
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from gateway import codes
from gateway.channels.broker import Receipt
from gateway.channels.publication import Position
from gateway.errors import GatewayError

log = structlog.get_logger(__name__)

PROTECTION: Final = {
    "Server": "wsgate",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of every answer."""
RETRY_AFTER: Final = "1"
TRY_AGAIN: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


def answer(
    value: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A JSON body; it ends with a line break, for whoever reads it in a terminal."""
    body = msgspec.json.encode(value) + b"\n"
    return web.Response(
        body=body, status=status, headers=headers, content_type="application/json", charset="utf-8"
    )


def shown_position(position: Position) -> dict[str, object]:
    """A position as clients hand it back."""
    return {"offset": position.offset, "epoch": position.epoch}


def shown_receipt(receipt: Receipt) -> dict[str, object]:
    """What a publisher is told."""
    return {"subscribers": receipt.subscribers, **shown_position(receipt.position)}


def error(status: int, kind: str, message: str) -> dict[str, object]:
    """The shape of every failure."""
    return {"error": {"code": status, "type": kind, "message": message}}


def describe(exc: Exception) -> tuple[int, dict[str, object]]:
    """The status and the body that tell of an error; what nobody foresaw is logged.

    Callers of the API hold the key, so they are told of their own request in full; of what is
    behind the gateway they learn only that it failed.
    """
    failure = codes.failure_of(exc)
    if failure is codes.INTERNAL:
        log.error("api call failed", exc_info=exc)
    of_caller = isinstance(exc, GatewayError) and failure.status < HTTPStatus.INTERNAL_SERVER_ERROR
    message = str(exc) if of_caller else ""
    return failure.status, error(failure.status, failure.type, message or failure.message)


@web.middleware
async def answer_failures(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into an answer."""
    try:
        return await handler(request)
    except web.HTTPException as exc:
        if exc.status < HTTPStatus.BAD_REQUEST:
            raise
        kind = codes.failure_of_status(exc.status).type
        kept = {
            name: exc.headers[name] for name in ("Allow", "WWW-Authenticate") if name in exc.headers
        }
        # Without a text of ours aiohttp says "404: Not Found".
        message = (exc.text or exc.reason).removeprefix(f"{exc.status}: ")
        return answer(error(exc.status, kind, message), exc.status, kept)
    except Exception as exc:  # noqa: BLE001 - the last place that can answer; it is logged
        status, body = describe(exc)
        headers = {"Retry-After": RETRY_AFTER} if status in TRY_AGAIN else None
        return answer(body, status, headers)
