"""The cache before a real php-fpm, with real memcached and Redis."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import websockets

from tests.phpfpm import PhpFpm, free_port
from tests.redisserver import RedisServer, find_redis
from tests.wsgate import serve

COUNTING = """
$file = __DIR__ . '/count';
$count = (int) @file_get_contents($file) + 1;
file_put_contents($file, (string) $count, LOCK_EX);
usleep(50000);
header('Content-Type: application/json');
echo json_encode(['count' => $count, 'asked' => file_get_contents('php://input')]);
"""


class Memcached:
    """A memcached of a test's own."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["memcached", "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-u", "root"]
        self._process = subprocess.Popen(command)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def memcached() -> Iterator[Memcached]:
    if shutil.which("memcached") is None:
        pytest.skip("no memcached on this machine")
    server = Memcached()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    if find_redis() is None:
        pytest.skip("no Redis on this machine")
    with RedisServer() as server:
        yield server


def write(folder: Path, php: PhpFpm, cache: str, stores: str = "{}") -> tuple[Path, str]:
    port = free_port()
    folder.mkdir()
    file = folder / "wsgate.yaml"
    file.write_text(f"""
listen: 127.0.0.1:{port}
internal: {{listen: "unix:{folder}/internal.sock"}}
upstreams: {{app: {{address: "{php.address}", document_root: "{php.document_root}"}}}}
stores: {stores}
routes:
  - {{path: /ws, upstream: app, script: /count.php, cache: {cache}}}
""")
    return file, f"ws://127.0.0.1:{port}/ws"


async def ask(client: Any, message: str) -> dict[str, Any]:
    await client.send(message)
    answer: dict[str, Any] = json.loads(await asyncio.wait_for(client.recv(), 10))
    return answer


async def test_a_hundred_clients_with_one_question_cost_one_request(
    php_fpm: PhpFpm, tmp_path: Path
) -> None:
    php_fpm.script("count.php", COUNTING)
    file, url = write(tmp_path / "a", php_fpm, "{ttl: 1m}")
    async with serve(file), AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(websockets.connect(url)) for _ in range(50)]
        answers = await asyncio.gather(*(ask(client, "same") for client in clients))
        assert [answer["count"] for answer in answers] == [1] * 50
        assert (await ask(clients[0], "other"))["asked"] == "other"
        assert (await ask(clients[1], "same"))["count"] == 1


@pytest.mark.parametrize("store", ["memcached", "redis"])
async def test_two_gateways_share_what_is_kept_elsewhere(
    store: str, php_fpm: PhpFpm, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(store)
    where = f"127.0.0.1:{server.port}" if store == "memcached" else f'"{server.url}"'
    php_fpm.script("count.php", COUNTING)
    cache, stores = f"{{ttl: 1m, store: {store}}}", f"{{{store}: {where}}}"
    one, one_url = write(tmp_path / "a", php_fpm, cache, stores)
    two, two_url = write(tmp_path / "b", php_fpm, cache, stores)
    async with (
        serve(one),
        serve(two),
        websockets.connect(one_url) as first,
        websockets.connect(two_url) as second,
    ):
        # Keeping is not waited for: the other gateway may ask before it is done.
        for _ in range(100):
            if await ask(first, "same") == await ask(second, "same"):
                return
        pytest.fail("nothing is shared")


async def test_a_store_that_is_away_costs_a_miss_and_no_error(
    memcached: Memcached, php_fpm: PhpFpm, tmp_path: Path
) -> None:
    php_fpm.script("count.php", COUNTING)
    stores = f"{{memcached: 127.0.0.1:{memcached.port}}}"
    file, url = write(tmp_path / "a", php_fpm, "{ttl: 1m, store: memcached}", stores)
    async with serve(file), websockets.connect(url) as client:
        assert (await ask(client, "same"))["count"] == 1
        memcached.stop()
        assert (await ask(client, "same"))["count"] == 2
        assert (await ask(client, "same"))["count"] == 3
        memcached.start()
        for _ in range(100):
            before = (await ask(client, "same"))["count"]
            if (await ask(client, "same"))["count"] == before:
                return
        pytest.fail("the store was not asked again")
