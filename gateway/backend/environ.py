"""What PHP finds in `$_SERVER`, encoded as early as it is known.

Three blocks of FastCGI params make a request: one of the target (made at start), one of the
connection (made at the handshake) and one of the event. Only the last is made per frame, from
templates in which nothing but the message's number and length is missing.

Names follow the CGI specification (RFC 3875) as nginx's fastcgi.conf fills it in. What a client
sends can become only HTTP_* and only from names of letters, digits and hyphens: a name with an
underscore or a dot could pose as another one.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Final

from fastcgi import params
from gateway.errors import MessageError

_NAME: Final = re.compile(r"[A-Za-z0-9-]+")
# Hop-by-hop names, names that CGI passes otherwise, and Proxy (CVE-2016-5385). Cookies travel in
# the block that changes with Set-Cookie.
_DROPPED: Final = frozenset(
    {
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "keep-alive",
        "proxy",
        "proxy-connection",
        "sec-websocket-extensions",
        "sec-websocket-key",
        "sec-websocket-version",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

JSON_TYPE: Final = "application/json"
BINARY_TYPE: Final = "application/octet-stream"


class HeaderError(MessageError):
    """A header has a value that must not reach PHP (NUL, CR or LF in it)."""


def http_headers(headers: Collection[tuple[str, str]]) -> list[tuple[bytes, str]]:
    """HTTP_* pairs; a repeated header is joined with commas, as RFC 9110 section 5.3 permits.

    Raises HeaderError where a value holds NUL, CR or LF.
    """
    if _is_broken("".join([value for _, value in headers])):
        name = next(name for name, value in headers if _is_broken(value))
        raise HeaderError(f"the header {name[:64]!r} holds a control character")
    found: dict[bytes, str] = {}
    for name, value in headers:
        key = _key_of(name)
        if not key:
            continue
        found[key] = f"{found[key]}, {value}" if key in found else value
    return list(found.items())


def _is_broken(value: str) -> bool:
    return "\0" in value or "\r" in value or "\n" in value


@lru_cache(maxsize=256)
def _key_of(name: str) -> bytes:
    """Kept, because clients send the same names; empty for a header that PHP must not see."""
    lowered = name.lower()
    if lowered in _DROPPED or lowered.startswith("ws-") or not _NAME.fullmatch(name):
        return b""
    return b"HTTP_" + lowered.upper().replace("-", "_").encode()


def cookies(headers: Iterable[tuple[str, str]]) -> str:
    """All Cookie headers as one (RFC 6265 section 5.4: joined with "; "); names in lower case."""
    return "; ".join([value for name, value in headers if name == "cookie"])


def target_block(
    *, document_root: str, script: str, route: str, rule: str | None, extra: Mapping[str, str]
) -> bytes:
    """What never changes for one script of one route: the script, the route, the constants."""
    pairs = [
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("SERVER_SOFTWARE", "wsgate"),
        ("REQUEST_METHOD", "POST"),
        # PHP runs nothing without it when cgi.force_redirect is on.
        ("REDIRECT_STATUS", "200"),
        ("DOCUMENT_ROOT", document_root),
        ("SCRIPT_FILENAME", script_filename(document_root, script)),
        ("SCRIPT_NAME", script),
        ("DOCUMENT_URI", script),
        ("WS_ROUTE", route),
    ]
    if rule is not None:
        pairs.append(("WS_RULE", rule))
    return params.encode([*pairs, *extra.items()])


def script_filename(document_root: str, script: str) -> str:
    """The one file that a target runs; both parts come from the configuration alone."""
    return document_root.rstrip("/") + script


_MESSAGE_ID: Final = [bytes((13, size)) + b"WS_MESSAGE_ID" for size in range(21)]
_LENGTHS: Final = [params.encode([("CONTENT_LENGTH", str(length))]) for length in range(1024)]


def message_template(*, content_type: str, text: bool) -> bytes:
    """The part of a message's params that is the same for all messages of a kind."""
    return params.encode(
        [
            ("WS_EVENT", "message"),
            ("WS_MESSAGE_TYPE", "text" if text else "binary"),
            ("CONTENT_TYPE", content_type if text else BINARY_TYPE),
        ]
    )


def message_block(template: bytes, message_id: int, length: int) -> bytes:
    """A message's params; made once a frame, so the pairs are put together by hand."""
    number = b"%d" % message_id
    if length < len(_LENGTHS):
        size = _LENGTHS[length]
    else:
        size = params.encode([("CONTENT_LENGTH", str(length))])
    return b"".join((template, _MESSAGE_ID[len(number)], number, size))


def event_block(event: str, length: int, extra: Iterable[tuple[str, str]] = ()) -> bytes:
    """The params of an event that is no message; its body is JSON."""
    pairs = [("WS_EVENT", event), ("CONTENT_TYPE", JSON_TYPE), ("CONTENT_LENGTH", str(length))]
    return params.encode([*pairs, *extra])
