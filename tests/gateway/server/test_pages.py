"""The PHP pages of `wsgate dev`, with a real php-fpm behind them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway.server.demo import add_demo
from gateway.server.pages import PhpPages
from gateway.server.phpfpm import PrivatePhpFpm, find_php_fpm

pytestmark = pytest.mark.skipif(find_php_fpm() is None, reason="needs php-fpm")

Client = TestClient[web.Request, web.Application]

PAGE = """<?php
setcookie('a', '1');
header('X-Frame-Options: DENY');
http_response_code((int) ($_GET['status'] ?? 200));
header('Content-Type: application/json');
echo json_encode([
    $_SERVER['REQUEST_METHOD'], $_GET, $_POST, $_COOKIE, $_SERVER['HTTP_X_ASKED'] ?? null,
    $_SERVER['API'], $_SERVER['SCRIPT_NAME'],
]);
"""


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    root = tmp_path / "app"
    (root / "x").mkdir(parents=True)
    (root / "x" / "page.php").write_text(PAGE)
    (root / "x" / "ws.php").write_text("<?php echo 'frames only';")
    (root / "x" / "dies.php").write_text("<?php posix_kill(getmypid(), 9);")
    (root / ".hidden.php").write_text(PAGE)
    (tmp_path / "outside.php").write_text(PAGE)
    (root / "link.php").symlink_to(tmp_path / "outside.php")
    with PrivatePhpFpm(root, children=2, on_line=lambda _: None) as php_fpm:
        app = web.Application()
        pages = PhpPages(root, php_fpm.socket, {"API": "http://here"})
        add_demo(app, routes=[], examples=root, pages=pages)
        async with TestClient(TestServer(app)) as made:
            yield made


async def test_a_page_is_asked_and_posted_to(client: Client) -> None:
    asked = await client.get("/examples/x/page.php?a=1", headers={"X-Asked": "yes"})
    assert await asked.json() == ["GET", {"a": "1"}, [], [], "yes", "http://here", "/x/page.php"]
    assert asked.headers.getall("Set-Cookie") == ["a=1"]
    assert asked.headers["X-Frame-Options"] == "DENY"
    assert "default-src 'self'" in asked.headers["Content-Security-Policy"]
    posted = await client.post(
        "/examples/x/page.php?status=418", data={"b": "ü"}, headers={"Cookie": "c=2"}
    )
    assert posted.status == 418
    said = (await posted.json())[:4]
    assert said == ["POST", {"status": "418"}, {"b": "ü"}, {"a": "1", "c": "2"}]


@pytest.mark.parametrize(
    "path",
    ["x/ws.php", ".hidden.php", "link.php", "x/nothing.php", "../outside.php", "x/page.php/more"],
)
async def test_nothing_else_is_run_or_shown(client: Client, path: str) -> None:
    assert (await client.get(f"/examples/{path}")).status == 404


async def test_only_pages_are_posted_to(client: Client) -> None:
    assert (await client.post("/examples/x/nothing.html")).status == 405


async def test_another_site_cannot_use_the_pages(client: Client) -> None:
    own = f"http://{client.host}:{client.port}"
    for origin, status in ((own, 200), ("http://evil.example", 403), ("null", 403)):
        answer = await client.post("/examples/x/page.php", headers={"Origin": origin})
        assert answer.status == status


async def test_a_page_that_dies_is_an_error_without_details(client: Client) -> None:
    answer = await client.get("/examples/x/dies.php")
    assert (answer.status, await answer.text()) == (502, "the application failed")
