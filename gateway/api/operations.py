"""What operators ask: health, metrics, status, and the page that shows it."""

import base64
import hashlib
import re
from importlib import resources
from typing import Final

from aiohttp import web

from gateway import metrics

from .answers import answer
from .overview import overview
from .services import services_of

_PAGE: Final = resources.files(__package__).joinpath("status.html").read_bytes()


def _hashes(element: bytes) -> str:
    """The page's own scripts or styles as a Content-Security-Policy names them."""
    inside = re.findall(rb"<%b>(.*?)</%b>" % (element, element), _PAGE, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(text).digest()).decode() for text in inside)
    return " ".join(f"'sha256-{digest}'" for digest in digests)


_POLICY: Final = (
    f"default-src 'none'; connect-src 'self'; img-src data:; script-src {_hashes(b'script')}; "
    f"style-src {_hashes(b'style')}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


async def live(_request: web.Request) -> web.Response:
    """GET /health/live: the process answers."""
    return answer({"live": True})


async def ready(request: web.Request) -> web.Response:
    """GET /health/ready: 503 and the reasons while it should get no new clients."""
    readiness = services_of(request).readiness()
    return answer(readiness.described(), 200 if readiness.ready else 503)


async def show_metrics(request: web.Request) -> web.Response:
    """GET /metrics: Prometheus text."""
    body = metrics.render(await services_of(request).numbers())
    return web.Response(body=body, headers={"Content-Type": metrics.CONTENT_TYPE})


async def show_status(request: web.Request) -> web.Response:
    """GET /status: what is known of the whole gateway."""
    services = services_of(request)
    readiness = services.readiness().described()
    facts = await services.status()
    numbers = overview(await services.numbers())
    return answer({**readiness, **facts, **numbers})


async def show_page(_request: web.Request) -> web.Response:
    """GET /: a page that shows /status and keeps itself fresh."""
    return web.Response(
        body=_PAGE,
        content_type="text/html",
        charset="utf-8",
        headers={"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"},
    )
