"""The PHP pages of the examples, for `wsgate dev`, which has no web server beside it.

GET and POST of one script, through the private php-fpm. It is no web server: no rewriting, no
uploads worth the name; in earnest nginx or Caddy stands there.
"""

from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final

from aiohttp import web
from multidict import CIMultiDict

from fastcgi import FastCGIError, Limits, Pool, params, parse_address
from gateway.backend.environ import cookies, http_headers, script_filename
from gateway.codes import failure_of
from gateway.transports.handshake import is_clean

CONNECTIONS: Final = 2
"""What php-fpm needs to have for them, beyond what the routes use."""

_TIMEOUT: Final = 30.0
_NOT_PASSED_ON: Final = frozenset({"connection", "content-length", "transfer-encoding", "status"})


class PhpPages:
    """Made before the event loop; the pool is opened by the first page."""

    def __init__(self, root: Path, socket: Path, extra: Mapping[str, str]) -> None:
        self._root = root.resolve()
        self._address = parse_address(f"unix:{socket}")
        self._extra = dict(extra)
        self._pool: Pool | None = None

    def script(self, name: str) -> str | None:
        """The script below the root that a page may ask for, with its leading slash.

        What answers frames (`ws.php`) is none, nor is anything hidden.
        """
        if "\0" in name or any(part.startswith(".") for part in name.split("/")):
            return None
        file = (self._root / name).resolve()
        if not file.is_relative_to(self._root) or file.suffix != ".php" or file.name == "ws.php":
            return None
        return f"/{file.relative_to(self._root).as_posix()}" if file.is_file() else None

    async def answer(self, request: web.Request, script: str) -> web.Response:
        """Run the script for the request."""
        if not _is_from_here(request):
            raise web.HTTPForbidden(text="This page is for itself alone.")
        body = await request.read()
        if self._pool is None:
            limits = Limits(max_connections=CONNECTIONS, keepalive=False)
            self._pool = Pool([self._address], limits)
        try:
            response = await self._pool.request(
                (self._params(request, script, len(body)),), body, timeout=_TIMEOUT, script=script
            )
        except FastCGIError as exc:
            failure = failure_of(exc)
            return web.Response(status=failure.status, text=failure.message)
        headers = CIMultiDict(
            (name, value)
            for name, value in response.headers
            if name not in _NOT_PASSED_ON and is_clean(name, value)
        )
        return web.Response(status=response.status, headers=headers, body=response.body)

    async def close(self) -> None:
        """Close the pool."""
        if self._pool is not None:
            await self._pool.close()

    def _params(self, request: web.Request, script: str, length: int) -> bytes:
        root = str(self._root)
        headers = [(name.lower(), value) for name, value in request.headers.items()]
        host, _, port = request.host.partition(":")
        pairs: list[tuple[bytes | str, str]] = [
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("SERVER_SOFTWARE", "wsgate"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("SERVER_NAME", host),
            ("SERVER_PORT", port or "80"),
            ("REQUEST_METHOD", request.method),
            ("REQUEST_SCHEME", request.scheme),
            ("REQUEST_URI", request.raw_path),
            ("QUERY_STRING", request.raw_path.partition("?")[2]),
            ("CONTENT_TYPE", request.headers.get("Content-Type", "")),
            ("CONTENT_LENGTH", str(length)),
            ("REMOTE_ADDR", request.remote or ""),
            ("REDIRECT_STATUS", str(HTTPStatus.OK.value)),
            ("DOCUMENT_ROOT", root),
            ("SCRIPT_FILENAME", script_filename(root, script)),
            ("SCRIPT_NAME", script),
            ("HTTP_COOKIE", cookies(headers)),
            *http_headers(headers),
            *self._extra.items(),
        ]
        return params.encode(pairs)


def _is_from_here(request: web.Request) -> bool:
    """Whether no other site sent it: a browser would carry any page's form to a loopback port."""
    origin = request.headers.get("Origin")
    return origin is None or origin == f"{request.scheme}://{request.host}"
