"""A real EventSource: Debian's Chromium, driven by playwright."""

import shutil
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page, async_playwright

from tests.downstream import Gateway, gateway

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server"]
LISTEN = """path => {
    window.heard = []
    window.opened = 0
    const source = new EventSource(path)
    source.onopen = () => { window.opened += 1 }
    const note = event => window.heard.push([event.type, event.data])
    for (const name of ["message", "binary", "gap", "join"]) source.addEventListener(name, note)
}"""


@pytest.fixture
async def served() -> AsyncIterator[Gateway]:
    async with gateway(allowed_origins=["same-origin", "http://127.0.0.1:*"]) as made:
        yield made


@pytest.fixture
async def page(served: Gateway) -> AsyncIterator[Page]:
    """A page of the gateway's own origin; that there is nothing on it is no matter."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = await browser.new_context(base_url=served.url)
        context.set_default_timeout(20_000)
        opened = await context.new_page()
        await opened.goto("/nowhere")
        yield opened
        await browser.close()


async def heard(page: Page, *events: list[str]) -> None:
    await page.wait_for_function("count => window.heard.length >= count", arg=len(events))
    assert await page.evaluate("window.heard") == list(events)


async def break_off(served: Gateway) -> None:
    for session in served.worker.services.directory:
        session.client.abort()
    await served.inside(0)


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
async def test_an_event_source_in_a_browser_comes_back_by_itself_and_misses_nothing(
    served: Gateway, page: Page
) -> None:
    await page.evaluate(LISTEN, "/kept/a")
    await served.inside(1)
    await page.wait_for_function("window.opened == 1")
    # It has heard nothing yet: only the id that comes first can tell where it was.
    await break_off(served)
    await served.say("kept.a", "one")
    await served.inside(1)
    await served.say("kept.a", "two\nlines", b"\x00\xff")
    found = [["message", "one"], ["message", "two\nlines"], ["binary", "AP8="]]
    await heard(page, *found)
    await break_off(served)
    await served.say("kept.a", *"abcde")
    await served.inside(1)
    await served.say("kept.a", "f")
    found += [["gap", '{"channel":"kept.a","gap":true}'], ["message", "f"]]
    await heard(page, *found)
    assert await page.evaluate("window.opened") == 3


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
async def test_a_page_of_an_allowed_origin_may_read_the_stream(served: Gateway, page: Page) -> None:
    """For the browser, localhost and 127.0.0.1 are two sites."""
    await page.evaluate(LISTEN, f"http://localhost:{served.port}/kept/a")
    await served.inside(1)
    await served.say("kept.a", "hello")
    await heard(page, ["message", "hello"])
