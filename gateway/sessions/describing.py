"""How data and publications stand in the JSON objects that clients get.

Data that is JSON is handed on as it is, other text as a JSON string, binary data as base64 with
`"encoding":"base64"`. History over HTTP, live deliveries and answers all use this one form.
"""

import base64
from typing import Final

import msgspec

from gateway.backend.reply import is_text, media_type
from gateway.channels.publication import JSON_TYPE, Kind, Publication

from .raw import check_utf8

_encode: Final = msgspec.json.encode
_value: Final = msgspec.json.Decoder().decode


def described(publication: Publication, *, with_channel: bool) -> bytes:
    """The publication as a JSON object, as live deliveries and stretches of history show it."""
    fields = []
    if with_channel:
        fields.append(b'"channel":' + _encode(publication.channel))
    data = publication.message.data
    if publication.kind is Kind.BINARY:
        fields.append(b'"data":"' + base64.b64encode(data) + b'","encoding":"base64"')
    elif publication.kind is Kind.JSON:
        fields.append(b'"data":' + _json_value(data))
    else:
        fields.append(b'"data":' + _string(data))
    position = publication.position
    if position.offset:
        fields.append(b'"offset":%d' % position.offset)
        if with_channel:
            fields.append(b'"epoch":' + _encode(position.epoch))
    return b"{" + b",".join(fields) + b"}"


def value_of(body: bytes, content_type: str) -> bytes:
    """The value of a field, and for binary data the field that says how it is written."""
    if not is_text(content_type):
        return b'"' + base64.b64encode(body) + b'","encoding":"base64"'
    if media_type(content_type) == JSON_TYPE and (value := _valid_json(body)) is not None:
        return value
    check_utf8(body)
    return _encode(body.decode())


def _json_value(data: bytes) -> bytes:
    """The bytes themselves where they are JSON, else as a JSON string."""
    value = _valid_json(data)
    return _string(data) if value is None else value


def _valid_json(data: bytes) -> bytes | None:
    """The bytes, if they are one JSON value that a frame can hold."""
    try:
        _value(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    return data


def _string(data: bytes) -> bytes:
    return _encode(data.decode("utf-8", "replace"))
