"""The demo page, the examples' own pages and what they need to know; only `wsgate dev` adds them.

Everything is static but two small JSON answers and the examples' PHP pages. The demo page carries
its script and its style in itself; the Content-Security-Policy names both by their hashes and
allows nothing else.
"""

import base64
import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from aiohttp import web

from gateway.metrics import Family, Histogram

from .pages import PhpPages

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_INLINE: Final = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)
# What an example's page may consist of: the text of its PHP and YAML is nobody's business.
_PAGE_FILES: Final = frozenset({".html", ".css", ".js", ".svg", ".png", ".ico"})
_COMMON_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_EXAMPLE_POLICY: Final = (
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_EXAMPLE_HEADERS: Final = {**_COMMON_HEADERS, "Content-Security-Policy": _EXAMPLE_POLICY}


@dataclass(frozen=True, slots=True)
class DemoRoute:
    """A route as the page offers it: `example` is a path that matches, `page` may be empty."""

    name: str
    path: str
    example: str
    page: str


class LastRequest:
    """How long php-fpm took for the latest request, as the gateway's own histogram knows it.

    Between two looks it is the mean of the requests answered since; the page looks after every
    reply.
    """

    def __init__(self) -> None:
        self._family: Family[Histogram] | None = None
        self._count = 0
        self._sum = 0.0
        self._last: float | None = None

    def watch(self, family: Family[Histogram]) -> None:
        """Where to look, once the gateway serves."""
        self._family = family

    def __call__(self) -> float | None:
        """Seconds, or None before the first request."""
        if self._family is None:
            return None
        series = [value for _labels, value in self._family.export()]
        count = sum(sum(buckets) for buckets, _ in series)
        total = sum(seconds for _, seconds in series)
        if count > self._count:
            self._last = (total - self._sum) / (count - self._count)
            self._count, self._sum = count, total
        return self._last


def add_demo(
    app: web.Application,
    *,
    routes: Sequence[DemoRoute],
    examples: Path,
    last_request: Callable[[], float | None] = lambda: None,
    pages: PhpPages | None = None,
) -> None:
    """Answer `/`, `/demo/...` and `/examples/...`.

    `last_request` gives the seconds the latest FastCGI request took, or None before the first.
    `pages` runs the PHP pages; without it there are none.
    """
    page = (files("gateway.server") / "demo.html").read_text(encoding="utf-8")
    headers = {**_COMMON_HEADERS, "Content-Security-Policy": content_security_policy(page)}
    listed = {
        "routes": [
            {"name": route.name, "path": route.path, "try": route.example, "page": route.page}
            for route in routes
        ]
    }

    async def index(_request: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html", headers=headers)

    async def routes_json(_request: web.Request) -> web.Response:
        return web.json_response(listed, headers=_COMMON_HEADERS)

    async def last_request_json(_request: web.Request) -> web.Response:
        seconds = last_request()
        milliseconds = None if seconds is None else round(seconds * 1000, 3)
        return web.json_response({"milliseconds": milliseconds}, headers=_COMMON_HEADERS)

    async def no_icon(_request: web.Request) -> web.Response:
        return web.Response(status=204)

    app.router.add_get("/", index)
    app.router.add_get("/favicon.ico", no_icon)
    app.router.add_get("/demo/routes.json", routes_json)
    app.router.add_get("/demo/last-request.json", last_request_json)
    example = _example_handler(examples.resolve(), pages)
    app.router.add_get("/examples/{file:.+}", example, allow_head=False)
    app.router.add_post("/examples/{file:.+}", example)
    if pages is not None:
        app.on_cleanup.append(lambda _app: pages.close())


def _example_handler(root: Path, pages: PhpPages | None) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        name = request.match_info["file"]
        script = None if pages is None else pages.script(name)
        if pages is not None and script is not None:
            answer = await pages.answer(request, script)
            for header, value in _EXAMPLE_HEADERS.items():
                answer.headers.setdefault(header, value)
            return answer
        if request.method != "GET":
            raise web.HTTPMethodNotAllowed(request.method, ["GET"])
        file = page_file(root, name)
        if file is None:
            raise web.HTTPNotFound
        if file.is_dir():
            raise web.HTTPFound(f"{request.path}/")
        return web.FileResponse(file, headers=_EXAMPLE_HEADERS)

    return answer


def content_security_policy(page: str) -> str:
    """A policy that lets exactly this page run: its inline blocks by hash, sockets to its host."""
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    for match in _INLINE.finditer(page):
        digest = base64.b64encode(hashlib.sha256(match[2].encode()).digest()).decode()
        hashes[match[1]].append(f"'sha256-{digest}'")
    return (
        "default-src 'none'; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'; "
        f"script-src {' '.join(hashes['script'])}; style-src {' '.join(hashes['style'])}"
    )


def page_file(root: Path, name: str) -> Path | None:
    """The file below `root` that a page may ask for; a folder when its slash is missing."""
    if "\0" in name or any(part.startswith(".") for part in name.split("/")):
        return None
    file = (root / name).resolve()
    if not file.is_relative_to(root):
        return None
    if file.is_dir():
        index = file / "index.html"
        if not index.is_file():
            return None
        return index if name.endswith("/") else file
    return file if file.suffix in _PAGE_FILES and file.is_file() else None
