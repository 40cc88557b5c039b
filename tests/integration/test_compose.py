"""The whole chain of docker-compose.yml with real programs: nginx, gateway, php-fpm, worker, ..."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.compose import (
    NGINX,
    Gateway,
    Nginx,
    Php,
    Places,
    Postgres,
    Redis,
    Worker,
    healthcheck,
    shown,
)
from tests.phpfpm import find_php_fpm
from tests.postgresserver import find_postgres
from tests.redisserver import find_redis

Socket = aiohttp.ClientWebSocketResponse
DEADLINE = 20.0


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    return Places(tmp_path_factory.mktemp("volumes"))


@pytest.fixture(scope="module")
def redis(places: Places) -> Iterator[Redis]:
    if find_redis() is None:
        pytest.skip("needs redis-server")
    with Redis(places) as server:
        yield server


@pytest.fixture(scope="module")
def postgres(places: Places) -> Iterator[Postgres]:
    if find_postgres() is None:
        pytest.skip("needs postgres")
    with Postgres(places) as server:
        yield server


@pytest.fixture(scope="module")
def php(places: Places) -> Iterator[Php]:
    if find_php_fpm() is None:
        pytest.skip("needs php-fpm")
    with Php(places) as server:
        yield server


@pytest.fixture(scope="module")
def nginx(places: Places, redis: Redis, postgres: Postgres, php: Php) -> Iterator[Nginx]:
    """The door of the whole chain."""
    if NGINX is None or not Path("/etc/nginx/fastcgi_params").is_file():
        pytest.skip("needs nginx")
    if shutil.which("php") is None:
        pytest.skip("needs the php command")
    with ExitStack() as stack:
        stack.enter_context(Gateway(places))
        stack.enter_context(Worker(places, redis))
        yield stack.enter_context(Nginx(places))


@pytest.fixture
async def session(nginx: Nginx, places: Places) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{places.nginx}") as made:
        yield made


async def ask(socket: Socket, value: Any) -> Any:
    await socket.send_str(json.dumps(value))
    return await hear(socket)


async def hear(socket: Socket) -> Any:
    return json.loads(await socket.receive_str(timeout=DEADLINE))


def test_redis_starts_with_the_options_and_writes_nothing(redis: Redis) -> None:
    for name, value in (("save", b""), ("appendonly", b"no")):
        assert redis.command("CONFIG", "GET", name).split(b"\r\n")[4] == value


def test_the_health_of_redis_is_what_it_says(redis: Redis, places: Places, tmp_path: Path) -> None:
    asked = places.execute(healthcheck("redis"))
    assert (asked.returncode, asked.stdout) == (0, "PONG\n")
    assert Places(tmp_path).execute(healthcheck("redis")).returncode != 0


def test_the_health_of_postgresql_is_what_it_says(
    postgres: Postgres, places: Places, tmp_path: Path
) -> None:
    asked = places.execute(healthcheck("postgres"))
    assert asked.returncode == 0, asked.stdout
    assert Places(tmp_path).execute(healthcheck("postgres")).returncode != 0


def test_the_health_of_postgresql_is_asked_where_its_setup_does_not_listen() -> None:
    """While the image makes its database, a server answers on the socket alone."""
    command = healthcheck("postgres")

    assert command[command.index("--host") + 1] == "127.0.0.1"


def test_php_fpm_has_no_complaint_of_the_pool(php: Php) -> None:
    assert php.complaints() == ""


def test_nginx_has_no_complaint_of_the_file(nginx: Nginx) -> None:
    assert nginx.complaints() == ""


async def test_frames_go_through_nginx_and_the_gateway_to_php(
    session: aiohttp.ClientSession,
) -> None:
    async with session.ws_connect("/ws/echo") as socket:
        answer = await ask(socket, {"hello": "PHP"})

    assert answer["echo"] == {"hello": "PHP"}


async def test_pages_are_served_and_run_and_nothing_else(session: aiohttp.ClientSession) -> None:
    for path, status in (
        ("echo/", 200),
        ("stocks/", 200),
        ("stocks/stocks.js", 200),
        ("page.css", 200),
        ("echo/ws.php", 403),
        ("stocks/wsgate.yaml", 403),
        ("stocks/redis.yaml", 403),
        ("stocks/nothing.php", 404),
    ):
        async with session.get(f"/examples/{path}") as answer:
            assert (path, answer.status) == (path, status)
    async with session.post("/examples/notify/notify.php", data={"user": "a"}) as answer:
        assert (answer.status, await answer.text()) == (422, "a user and a text are needed\n")


async def test_the_worker_does_what_php_put_into_the_queue(session: aiohttp.ClientSession) -> None:
    async with session.ws_connect("/ws/deferred") as socket:
        heard = [await ask(socket, {"limit": 100}), await hear(socket), await hear(socket)]

    # The worker may be faster than the answer.
    assert sorted(each["state"] for each in heard) == ["done", "queued", "working"]
    assert [each["primes"] for each in heard if each["state"] == "done"] == [25]


async def test_the_command_shown_for_php_reaches_the_user(
    session: aiohttp.ClientSession, places: Places
) -> None:
    command = shown("php")
    user, text = command[-2:]
    async with session.ws_connect("/ws/notify", params={"user": user}) as socket:
        done = places.execute(command)
        assert (done.returncode, done.stdout) == (0, f"{user} hears it now\n"), done.stderr
        assert (await hear(socket))["text"] == text


@pytest.mark.parametrize(("service", "price"), [("redis", 101.5), ("postgres", 99)])
async def test_the_command_shown_for_a_price_is_heard(
    session: aiohttp.ClientSession, places: Places, service: str, price: float
) -> None:
    async with session.ws_connect("/ws/stocks", protocols=["wsgate.v1.json"]) as socket:
        await socket.send_str(json.dumps({"id": 1, "subscribe": "stock.ACME"}))
        async with asyncio.timeout(DEADLINE):
            heard: dict[str, Any] = {}
            while heard.get("id") != 1:
                heard = await hear(socket)
            # What a source was told before it listens is lost, as with Redis itself.
            while "data" not in heard:
                done = places.execute(shown(service))
                assert done.returncode == 0, done.stderr
                try:
                    heard = json.loads(await socket.receive_str(timeout=1))
                except TimeoutError:
                    continue

    # What a source hears is text.
    assert (heard["channel"], json.loads(heard["data"])) == ("stock.ACME", {"price": price})
