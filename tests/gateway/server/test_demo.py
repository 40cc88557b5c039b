"""The demo page and the examples' files, without a gateway behind them."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway.server.demo import DemoRoute, add_demo

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    (tmp_path / "echo").mkdir()
    (tmp_path / "echo" / "index.html").write_text("<p>echo")
    (tmp_path / "echo" / "ws.php").write_text("<?php // secret")
    (tmp_path / "page.css").write_text("p { color: red }")
    (tmp_path / ".hidden.html").write_text("hidden")
    (tmp_path.parent / "outside.html").write_text("outside")
    (tmp_path / "link.html").symlink_to(tmp_path.parent / "outside.html")
    app = web.Application()
    route = DemoRoute("echo", "/ws/echo", "/ws/echo", "/examples/echo/")
    add_demo(app, routes=[route], examples=tmp_path, last_request=lambda: 0.0012345)
    async with TestClient(TestServer(app)) as made:
        yield made


async def test_the_page_needs_nothing_from_elsewhere_and_its_policy_allows_nothing_else(
    client: Client,
) -> None:
    answer = await client.get("/")
    page = await answer.text()

    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
    assert not re.search(r"\son\w+=|style=", page)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert len(re.findall(r"'sha256-", policy)) == 2


async def test_every_control_of_the_page_has_a_label(client: Client) -> None:
    page = await (await client.get("/")).text()

    labelled = set(re.findall(r'<label for="(\w+)"', page))
    wrapped = re.findall(r"<label><input [^>]*>", page)
    controls = re.findall(r"<(?:select|textarea|input)\b[^>]*>", page)
    for control in controls:
        identity = re.search(r'id="(\w+)"', control)
        assert (identity and identity[1] in labelled) or f"<label>{control}" in wrapped


async def test_the_page_learns_its_routes(client: Client) -> None:
    answer = await (await client.get("/demo/routes.json")).json()

    assert answer["routes"] == [
        {"name": "echo", "path": "/ws/echo", "try": "/ws/echo", "page": "/examples/echo/"}
    ]


async def test_the_last_request_is_told_in_milliseconds(client: Client) -> None:
    answer = await (await client.get("/demo/last-request.json")).json()

    assert answer == {"milliseconds": 1.234}


async def test_an_example_has_its_page(client: Client) -> None:
    answer = await client.get("/examples/echo/")

    assert (answer.status, await answer.text()) == (200, "<p>echo")
    assert answer.content_type == "text/html"
    assert "Content-Security-Policy" in answer.headers


async def test_a_folder_without_its_slash_is_redirected_so_that_relative_links_work(
    client: Client,
) -> None:
    answer = await client.get("/examples/echo", allow_redirects=False)

    assert (answer.status, answer.headers["Location"]) == (302, "/examples/echo/")


@pytest.mark.parametrize(
    "path",
    [
        "/examples/echo/ws.php",
        "/examples/.hidden.html",
        "/examples/link.html",
        "/examples/%2e%2e/outside.html",
        "/examples/..%2foutside.html",
        "/examples//etc/hostname",
        "/examples/missing.html",
        "/examples/echo/%00.html",
        "/elsewhere",
    ],
)
async def test_nothing_but_pages_below_the_folder_is_served(client: Client, path: str) -> None:
    answer = await client.get(path)

    assert answer.status == 404
