"""A browser, a `wsgate dev` with the examples, and a page of it."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright

from tests.wsgate import Running, dev

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-proxy-server",
]


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield launched
        await launched.close()


@pytest.fixture
async def gateway(
    tmp_path: Path, unused_tcp_port_factory, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Running]:
    ports = unused_tcp_port_factory(), unused_tcp_port_factory()
    monkeypatch.setenv("QUEUE_FOLDER", str(tmp_path / "queue"))
    async with dev(ROOT / "php-example", tmp_path / "tmp", *ports) as running:
        yield running


@pytest.fixture
async def page(browser: Browser, gateway: Running) -> AsyncIterator[Page]:
    context = await browser.new_context(base_url=f"http://127.0.0.1:{gateway.port}")
    context.set_default_timeout(15_000)
    opened = await context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    yield opened
    await context.close()
    # A refused handshake is the one thing a browser writes down by itself.
    assert [text for text in complaints if "WebSocket connection to" not in text] == []
