"""POST /batch: many messages in one request, a JSON object a line, a result a line.

The body is read whole, bounded as every other, before the first result is written: a caller that
sends everything before it reads anything cannot be waited for by a gateway that waits for it.
What was sent whole is published whole, also when its caller does not stay for the answer.
"""

import asyncio
import base64
import binascii
import io
from typing import Final

import msgspec
from aiohttp import ClientConnectionError, web

from gateway.channels.publication import BINARY_TYPE, JSON_TYPE, Message, is_binary_type
from gateway.channels.publishing import Source
from gateway.channels.service import ChannelService
from gateway.errors import MessageError

from .answers import describe, shown_receipt
from .bodies import read_body, short_header
from .services import services_of

_TYPES: Final = frozenset(
    {
        *("application/x-ndjson", "application/ndjson", "application/jsonl", "application/json"),
        *("text/plain", "application/octet-stream"),
        "application/x-www-form-urlencoded",  # what curl says when it is told nothing
    }
)
_LINES_AT_ONCE: Final = 100
_SECONDS: Final = 30.0
_MAX_WORD: Final = 255


class Line(msgspec.Struct, forbid_unknown_fields=True):
    """One message of a batch, as it was sent."""

    channel: str
    data: msgspec.Raw
    content_type: str = ""
    encoding: str = ""
    idempotency_key: str = ""


_decoder: Final = msgspec.json.Decoder(Line)


def read_line(line: bytes) -> Line:
    """What a line says; MessageError says what is wrong with it."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise MessageError(str(exc)) from exc
    except RecursionError as exc:
        raise MessageError("nested too deeply") from exc


def message_of(item: Line, key: str) -> Message:
    """The message of a line; MessageError says why it cannot be one.

    `data` goes out as the JSON it is; with a `content_type` that is not JSON it must be a
    string, which then goes out as text, or with `"encoding":"base64"` as the bytes it stands for.
    """
    for word in (item.content_type, item.idempotency_key):
        if len(word) > _MAX_WORD or not word.isascii() or not word.isprintable():
            raise MessageError(f"a word has at most {_MAX_WORD} visible ASCII characters")
    key = item.idempotency_key or key
    if not _is_string_wanted(item):
        return Message(bytes(item.data), JSON_TYPE, key=key)
    try:
        text = msgspec.json.decode(item.data, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise MessageError(f"data: {exc}") from exc
    return Message(_bytes_of(text, item), _type_of(item), key=key)


def _is_string_wanted(item: Line) -> bool:
    return bool(item.encoding) or item.content_type.partition(";")[0].strip() not in {"", JSON_TYPE}


def _type_of(item: Line) -> str:
    return item.content_type or BINARY_TYPE


def _bytes_of(text: str, item: Line) -> bytes:
    if item.encoding == "base64":
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as exc:
            raise MessageError("data is not base64") from exc
    if item.encoding or is_binary_type(_type_of(item)):
        raise MessageError('binary data needs "encoding":"base64"')
    return text.encode()


async def _publish(channels: ChannelService, line: bytes, key: str) -> dict[str, object]:
    channel = None
    try:
        item = read_line(line)
        channel = item.channel
        receipt = await channels.publish(channel, message_of(item, key), source=Source.API)
    except Exception as exc:  # noqa: BLE001 - a line fails alone; it is described and logged
        status, body = describe(exc)
        return {"channel": channel, "status": status, **body}
    return {
        "channel": channel,
        "status": 201 if receipt.subscribers else 202,
        **shown_receipt(receipt),
    }


async def publish_batch(request: web.Request) -> web.StreamResponse:
    """POST /batch: 200, whatever became of the lines; each has its own status."""
    if request.content_type not in _TYPES:
        raise web.HTTPUnsupportedMediaType(text="a batch is application/x-ndjson")
    channels = services_of(request).channels
    key = short_header(request.headers, "Idempotency-Key")
    body = await read_body(request)
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    results: list[bytes] = []
    heard = True
    for number, line in enumerate(io.BytesIO(body), start=1):
        if text := line.strip():
            result = await _publish(channels, text, f"{key}:{number}" if key else "")
            results.append(msgspec.json.encode(result) + b"\n")
        if number % _LINES_AT_ONCE == 0:
            heard = heard and await _tell(response, results)
            results.clear()
            await asyncio.sleep(0)  # a broker in this process never gives up the loop by itself
    if heard and await _tell(response, results):
        await response.write_eof()
    return response


async def _tell(response: web.StreamResponse, results: list[bytes]) -> bool:
    """Hand results to the caller; False when it has gone, or does not read them."""
    try:
        async with asyncio.timeout(_SECONDS):
            await response.write(b"".join(results))
    except (ClientConnectionError, ConnectionError, TimeoutError):
        return False
    return True
