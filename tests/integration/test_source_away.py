"""What operators see of a source that is away: a gateway as a process, a real Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.phpfpm import free_port
from tests.redisserver import RedisServer, find_redis
from tests.wsgate import serve

pytestmark = pytest.mark.skipif(find_redis() is None, reason="no redis-server here")

CONFIG = """\
listen: 127.0.0.1:0
internal: {{listen: "127.0.0.1:{internal}"}}
workers: 2
upstreams: {{app: {{address: "unix:{folder}/none.sock", document_root: "{folder}"}}}}
routes: [{{path: /ws, upstream: app, script: /ws.php}}]
sources:
  - {{type: redis, url: "redis://127.0.0.1:{redis}", match: "stock.*"}}
  - {{type: redis, url: "redis://127.0.0.1:{redis}", match: "news.*"}}
"""
AWAY = [
    "the source redis stock.* cannot be heard",
    "the source redis news.* cannot be heard",
]


@pytest.fixture
async def redis() -> AsyncIterator[RedisServer]:
    server = RedisServer()
    yield server
    server.kill()


@pytest.fixture
async def http(tmp_path: Path, redis: RedisServer) -> AsyncIterator[aiohttp.ClientSession]:
    internal = free_port()
    file = tmp_path / "wsgate.yaml"
    file.write_text(CONFIG.format(internal=internal, folder=tmp_path, redis=redis.port))
    async with serve(file), aiohttp.ClientSession(f"http://127.0.0.1:{internal}") as session:
        yield session


async def becomes(ask: Callable[[], Awaitable[Any]], wanted: object) -> None:
    found: object = None
    try:
        async with asyncio.timeout(20):
            while (found := await ask()) != wanted:  # noqa: ASYNC110 - another process is watched
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{found} is not {wanted}") from None


async def test_it_is_ready_all_the_same_and_says_what_it_serves_without(http, redis) -> None:
    async def readiness() -> Any:
        async with http.get("/health/ready") as answer:
            return answer.status, await answer.json()

    async def heard() -> Any:
        async with http.get("/status") as answer:
            return [row["heard"] for row in (await answer.json())["sources"]]

    async def away() -> Any:
        async with http.get("/metrics") as answer:
            lines = (await answer.text()).splitlines()
        return [line for line in lines if line.startswith("wsgate_source_away")]

    def rows(count: int) -> list[str]:
        names = ("stock.*", "news.*")
        return [f'wsgate_source_away{{match="{n}",type="redis"}} {count}.0' for n in names]

    await becomes(readiness, (200, {"ready": True, "reasons": [], "degraded": AWAY}))
    await becomes(heard, [False, False])
    await becomes(away, rows(2))

    redis.start()

    await becomes(readiness, (200, {"ready": True, "reasons": [], "degraded": []}))
    await becomes(heard, [True, True])
    await becomes(away, rows(0))
