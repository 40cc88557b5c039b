"""The opening handshake: RFC 6455 section 4.2, from headers to the bytes of an answer.

No I/O: heads come in as parsed by aiohttp, answers go out as bytes. Whether the client may come
in at all is the doorman's business.
"""

import binascii
import re
from collections.abc import Iterable
from hashlib import sha1
from http import HTTPStatus
from typing import Final

from aiohttp.http import HttpProcessingError
from aiohttp.http_exceptions import LineTooLong
from multidict import CIMultiDictProxy

from .doorman import Refusal
from .head import RequestHead

GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
VERSION: Final = "13"

_KEY_SIZE: Final = 16
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FORBIDDEN: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "content-length",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_BODILESS: Final = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_FIRST_REFUSING: Final = 300
_LAST_REFUSING: Final = 599


def tokens(headers: CIMultiDictProxy[str], name: str) -> list[str]:
    """The comma separated values of every header of that name, in lower case."""
    values = headers.getall(name, ())
    if len(values) == 1 and "," not in values[0]:
        return [values[0].strip().lower()]
    return [part.strip().lower() for value in values for part in value.split(",")]


def is_upgrade(headers: CIMultiDictProxy[str]) -> bool:
    """Whether the request asks for a WebSocket, rightly or wrongly."""
    return "websocket" in tokens(headers, "upgrade")


def validate(head: RequestHead) -> Refusal | None:
    """What is wrong with the upgrade request; None when it is as RFC 6455 section 4.2.1 says."""
    headers = head.headers
    if "transfer-encoding" in headers or headers.get("content-length", "0").strip() != "0":
        return _bad("A WebSocket handshake has no body.")
    if head.method != "GET":
        return refusal(405, "A WebSocket handshake is a GET.", ("Allow", "GET"))
    if head.version < (1, 1):
        return _bad("A WebSocket handshake needs HTTP/1.1.")
    if not headers.get("host"):
        return _bad("The Host header is missing.")
    if not head.target.startswith("/"):
        return _bad("The request's target must be a path.")
    if "upgrade" not in tokens(headers, "connection"):
        return _bad("The Connection header lacks the token Upgrade.")
    versions = headers.getall("sec-websocket-version", ())
    if len(versions) != 1 or versions[0].strip() != VERSION:
        return refusal(426, "Only WebSocket version 13 is spoken.", *_UPGRADE_HINT)
    keys = headers.getall("sec-websocket-key", ())
    if len(keys) != 1 or not _is_key(keys[0].strip()):
        return _bad("Sec-WebSocket-Key must be sixteen bytes in base64, once.")
    if not all(map(_TOKEN.fullmatch, subprotocols(headers))):
        return _bad("Sec-WebSocket-Protocol is not a list of tokens.")
    return None


def subprotocols(headers: CIMultiDictProxy[str]) -> tuple[str, ...]:
    """What the client offers to speak, in its order; case is kept, it matters here."""
    values = headers.getall("sec-websocket-protocol", ())
    if not values:
        return ()
    offers = (part.strip() for value in values for part in value.split(","))
    return tuple(offer for offer in offers if offer)


def _is_key(key: str) -> bool:
    try:
        return len(binascii.a2b_base64(key, strict_mode=True)) == _KEY_SIZE
    except ValueError:
        return False


_UPGRADE_HINT: Final = (
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", VERSION),
)


def refusal(status: int, text: str, *headers: tuple[str, str]) -> Refusal:
    """A refusal in one line of plain text."""
    plain = ("Content-Type", "text/plain; charset=utf-8")
    return Refusal(status, (*headers, plain), text.encode() + b"\n")


TOO_LARGE: Final = refusal(431, "The request's head is too large.")
_TOO_LONG: Final = refusal(414, "The address is too long.")
_MALFORMED: Final = refusal(400, "The request cannot be read.")
_MAX_LINE: Final = 8190
"""Bytes that aiohttp takes of one line of a head."""


def unreadable(error: HttpProcessingError, head: bytes) -> Refusal:
    """What a head is answered that aiohttp could not read."""
    if not isinstance(error, LineTooLong):
        return _MALFORMED
    return _TOO_LONG if head.find(b"\n") > _MAX_LINE else TOO_LARGE


def _bad(text: str) -> Refusal:
    return refusal(400, text)


def accept_key(key: str) -> str:
    """RFC 6455 section 4.2.2, step 5.4."""
    digest = sha1(key.encode() + GUID, usedforsecurity=False).digest()
    return binascii.b2a_base64(digest, newline=False).decode()


def is_clean(name: str, value: str) -> bool:
    """Whether a header can be sent without saying more than one header."""
    return bool(_TOKEN.fullmatch(name)) and not _FORBIDDEN.search(value)


def encode_acceptance(
    key: str, subprotocol: str = "", extensions: str = "", set_cookies: Iterable[str] = ()
) -> bytes:
    """The 101. Values that would break out of their line are left out."""
    head = (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_key(key)}\r\n"
    )
    if subprotocol and is_clean("Sec-WebSocket-Protocol", subprotocol):
        head += f"Sec-WebSocket-Protocol: {subprotocol}\r\n"
    if extensions:
        head += f"Sec-WebSocket-Extensions: {extensions}\r\n"
    for cookie in set_cookies:
        if is_clean("Set-Cookie", cookie):
            head += f"Set-Cookie: {cookie}\r\n"
    return f"{head}\r\n".encode("utf-8", "surrogateescape")


def sendable_headers(refused: Refusal) -> list[tuple[str, str]]:
    """The refusal's headers without hop-by-hop ones and without what could split the answer."""
    return [
        (name, value)
        for name, value in refused.headers
        if name.lower() not in _HOP_BY_HOP and is_clean(name, value)
    ]


def sendable_status(refused: Refusal) -> int:
    """The refusal's status; 500 where it would not be a refusal at all."""
    if _FIRST_REFUSING <= refused.status <= _LAST_REFUSING:
        return refused.status
    return HTTPStatus.INTERNAL_SERVER_ERROR


def encode_refusal(refused: Refusal) -> bytes:
    """The whole answer; the connection ends with it."""
    status = sendable_status(refused)
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Refused"
    lines = [f"HTTP/1.1 {status} {phrase}"]
    lines += [f"{name}: {value}" for name, value in sendable_headers(refused)]
    if status == HTTPStatus.UPGRADE_REQUIRED:
        lines += ["Upgrade: websocket", "Connection: Upgrade, close"]
    else:
        lines.append("Connection: close")
    body = b"" if status in _BODILESS else refused.body
    if status not in _BODILESS:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


NO_FILES: Final = encode_refusal(refusal(503, "Too many connections.", ("Retry-After", "1")))
"""What a connection is answered for which no file descriptor is left."""
