"""What callers send: a bounded body, a message in it, a few parameters."""

import asyncio
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from gateway.channels.publication import TEXT_TYPE, Message, is_binary_type, is_utf8

from .services import services_of

_SECONDS: Final = 30.0
_MAX_HEADER: Final = 255


async def read_body(request: web.Request) -> bytes:
    """The whole body; 413 when it is larger than `internal.max_body`, 408 when it dawdles."""
    limit = services_of(request).max_body
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise web.HTTPUnsupportedMediaType(text="compressed bodies are not taken")
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    if request.content.is_eof():
        # It came with the head, as short ones do: nothing has to be waited for.
        whole = request.content.read_nowait()
        if len(whole) > limit:
            raise _too_large(limit)
        return whole
    body = bytearray()
    try:
        async with asyncio.timeout(_SECONDS):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limit:
                    raise _too_large(limit)
    except TimeoutError as exc:
        raise web.HTTPRequestTimeout(text=f"the body took longer than {_SECONDS:g} s") from exc
    return bytes(body)


def _too_large(limit: int) -> web.HTTPException:
    return web.HTTPRequestEntityTooLarge(limit, text=f"at most {limit} bytes are taken")


async def read_message(request: web.Request) -> Message:
    """The body as a message: its Content-Type, `Idempotency-Key`, `?exclude=CONNECTION`."""
    # Wrong headers are refused before the body is read.
    content_type, key = _type_and_key(request.headers)
    data = await read_body(request)
    return _message(data, content_type, request.query.get("exclude", ""), key)


def message_of(headers: Mapping[str, str], data: bytes) -> Message:
    """The same of a request that has no query and came whole."""
    content_type, key = _type_and_key(headers)
    return _message(data, content_type, "", key)


def _type_and_key(headers: Mapping[str, str]) -> tuple[str, str]:
    content_type = short_header(headers, "Content-Type") or TEXT_TYPE
    if content_type.lower().startswith("multipart/"):
        raise web.HTTPUnsupportedMediaType(
            text="a message is sent as the body itself, not as a form"
        )
    return content_type, short_header(headers, "Idempotency-Key")


def _message(data: bytes, content_type: str, exclude: str, key: str) -> Message:
    if not is_binary_type(content_type) and not is_utf8(data):
        raise web.HTTPUnprocessableEntity(
            text="text must be UTF-8; send binary data as application/octet-stream"
        )
    return Message(data, content_type, exclude, key)


def short_header(headers: Mapping[str, str], name: str) -> str:
    """A header that is kept with the message, so it must be short and plain."""
    value = headers.get(name, "").strip()
    if len(value) > _MAX_HEADER or not value.isascii() or not value.isprintable():
        raise web.HTTPBadRequest(text=f"{name}: at most {_MAX_HEADER} visible ASCII characters")
    return value


def number_of(request: web.Request, name: str, *, least: int, most: int) -> int | None:
    """A whole number from the query; None when it is not given."""
    text = request.query.get(name)
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= len(str(most)):
        number = int(text)
        if least <= number <= most:
            return number
    raise web.HTTPBadRequest(text=f"{name}: expected a number from {least} to {most}")
