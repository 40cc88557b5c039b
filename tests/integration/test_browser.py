"""The demo page and the examples in a real browser: Debian's Chromium, driven by playwright."""

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from gateway.server.phpfpm import find_php_fpm
from tests.wsgate import Running, dev

ROOT = Path(__file__).parents[2]
PHP = shutil.which("php")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
    pytest.mark.skipif(find_php_fpm() is None, reason="needs php-fpm"),
]
EXAMPLES = len([path for path in (ROOT / "php-example").iterdir() if path.is_dir()])
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


async def test_the_demo_page_from_connect_to_disconnect(page: Page) -> None:
    """One visit, step by step: a browser's start costs more than all of it."""
    await page.goto("/")
    await sends_text_by_keyboard_alone(page)
    await sends_binary_and_refuses_what_is_no_hexadecimal(page)
    await checks_json_before_sending(page)
    await shows_error_frames(page)
    await disconnects(page)
    await says_that_a_handshake_was_refused(page)
    await is_readable_on_a_phone(page)


async def sends_text_by_keyboard_alone(page: Page) -> None:
    await expect(page.locator("#examples li")).to_have_count(EXAMPLES)
    await page.locator("#route").focus()
    await expect(page.locator("#path")).to_have_value("/ws/echo")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator("#state")).to_have_text("open")
    await page.locator("#body").focus()
    await page.keyboard.press("Control+A")
    await page.keyboard.type("Grüße")
    await page.keyboard.press("Enter")
    received = page.locator("#frames .received .what")
    await expect(received).to_contain_text('"echo":"Grüße"')
    await expect(page.locator("#frames .sent .what")).to_have_text("Grüße")
    await expect(page.locator("#reply-time")).to_contain_text(" ms")
    await expect(page.locator("#request-time")).to_contain_text(" ms")
    assert await page.locator("#frames time").first.get_attribute("datetime")


async def sends_binary_and_refuses_what_is_no_hexadecimal(page: Page) -> None:
    await page.get_by_label("Binary").check()
    await page.locator("#body").fill("00 zz")
    await page.locator("#body").press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("pairs of hexadecimal digits")
    await page.locator("#body").fill("00 fe ff")
    await page.locator("#body").press("Enter")
    await expect(page.locator("#body-problem")).to_be_empty()
    await expect(page.locator("#frames .received .what").last).to_have_text("00 fe ff")


async def checks_json_before_sending(page: Page) -> None:
    await page.get_by_label("JSON").first.check()
    await page.locator("#body").fill('{"a":')
    await page.get_by_role("button", name="Send").click()
    await expect(page.get_by_role("alert")).to_contain_text("Not JSON")
    await expect(page.locator("#frames .sent")).to_have_count(2)


async def shows_error_frames(page: Page) -> None:
    await page.locator("#route").select_option(label="errors  /ws/errors")
    await page.get_by_role("button", name="Reconnect").click()
    await expect(page.locator("#frames .event").last).to_contain_text("connected to /ws/errors")
    await page.locator("#body").fill('{"fail": "refuse"}')
    await page.locator("#body").press("Enter")
    await expect(page.locator("#frames .error .what")).to_contain_text('"code":422')


async def disconnects(page: Page) -> None:
    await page.get_by_role("button", name="Disconnect").click()
    await expect(page.locator("#state")).to_have_text("closed")
    await expect(page.locator("#frames .event").last).to_contain_text("closed: 1000")


async def says_that_a_handshake_was_refused(page: Page) -> None:
    await page.locator("#path").fill("/ws/nowhere")
    await page.locator("#path").press("Enter")
    await expect(page.locator("#frames .error .what").last).to_contain_text("refused")


async def is_readable_on_a_phone(page: Page) -> None:
    await page.set_viewport_size({"width": 375, "height": 812})
    assert await page.evaluate("document.documentElement.scrollWidth") == 375
    for control in await page.locator("button:visible, select:visible").all():
        box = await control.bounding_box()
        assert box
        assert box["height"] >= 36, "too small for a finger"


async def test_the_examples_from_their_pages(page: Page) -> None:
    await page.goto("/")
    await page.get_by_role("link", name="errors").click()
    await errors_are_shown(page)
    await page.get_by_role("link", name="wsgate").click()
    await page.get_by_role("link", name="login").click()
    await a_login_survives_a_reload(page)
    await page.goto("/examples/echo/")
    await page.get_by_role("button", name="Send", exact=True).click()
    await expect(page.locator(".log .in")).to_contain_text("Good morning, PHP")
    await page.get_by_role("button", name="five bytes").click()
    await expect(page.locator(".log .in").last).to_contain_text("5 bytes: 00 01 02 fe ff")


async def errors_are_shown(page: Page) -> None:
    for button, expected in (
        ("422 from PHP", '"code":422'),
        ("Fatal error", '"code":500'),
        ("The process dies", '"code":502'),
    ):
        await page.get_by_role("button", name=button).click()
        await expect(page.locator(".log .error").last).to_contain_text(expected)
    await page.get_by_role("button", name="Close by PHP").click()
    await expect(page.locator(".log .event").last).to_contain_text("closed: 4001 as you wish")
    await page.get_by_role("button", name="No failure").click()
    await expect(page.locator(".log .in").last).to_contain_text("nothing failed")


async def a_login_survives_a_reload(page: Page) -> None:
    await expect(page.locator(".log .in")).to_contain_text('{"you":null}')
    await page.get_by_role("button", name="Log in").click()
    await expect(page.locator(".log .in").last).to_contain_text('{"you":"Ada"}')
    await page.reload()
    await expect(page.locator(".log .in")).to_contain_text('{"you":"Ada"}')


async def test_two_people_in_a_room_hear_each_other_and_see_who_is_there(page: Page) -> None:
    other = await page.context.new_page()
    for visitor, name in ((page, "Ada"), (other, "Grace")):
        await visitor.goto("/examples/chat/")
        await visitor.get_by_label("Your name").fill(name)
        await visitor.get_by_role("button", name="Enter").click()
        await expect(visitor.locator(".log .event")).to_contain_text("you are in lobby")
        await visitor.get_by_label("Say").fill(f"I am {name}")
        await visitor.get_by_label("Say").press("Enter")
        await expect(visitor.locator(".log .in").last).to_contain_text(f"{name}: I am {name}")
    await expect(page.locator(".log .in").last).to_contain_text("Grace: I am Grace")
    # Who comes later reads what was said before.
    await expect(other.locator(".log .in").first).to_contain_text("Ada: I am Ada")
    await expect(page.locator("#online")).to_have_text("Ada, Grace")
    await expect(other.locator("#online")).to_have_text("Ada, Grace")
    await other.close()
    await expect(page.locator("#online")).to_have_text("Ada")


async def shell(script: str, *arguments: str, api: int = 0) -> str:
    """A PHP script as cron starts it; what it prints."""
    process = await asyncio.create_subprocess_exec(
        PHP or "",
        str(ROOT / "php-example" / script),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "WSGATE_API": f"http://127.0.0.1:{api}"},
    )
    printed, _ = await asyncio.wait_for(process.communicate(), 30)
    return printed.decode()


async def test_a_user_is_notified_by_a_page_and_by_cron_and_misses_nothing(
    page: Page, gateway: Running
) -> None:
    await page.goto("/examples/notify/")
    await page.get_by_role("button", name="Listen").click()
    await expect(page.locator(".log .event")).to_have_text(re.compile("listening to /ws/notify"))
    await page.get_by_role("button", name="Send").click()
    await expect(page.locator(".log .in")).to_contain_text("Your parcel has arrived")
    await expect(page.locator(".log .event").last).to_contain_text("200 ada hears it now")
    await page.get_by_label("Whom").fill("grace")
    await page.get_by_role("button", name="Send").click()
    await expect(page.locator(".log .event").last).to_contain_text("grace is not here")
    if PHP is not None:
        said = await shell("notify/notify.php", "ada", "from cron", api=gateway.internal_port)
        assert said == "ada hears it now\n"
        await expect(page.locator(".log .in").last).to_contain_text("from cron")
    await expect(page.locator(".log .in")).to_have_count(2 if PHP else 1)


async def test_a_job_is_queued_at_once_and_its_result_pushed_to_the_page_that_waits(
    page: Page, gateway: Running
) -> None:
    await page.goto("/examples/deferred/")
    await expect(page.locator(".log .event")).to_contain_text("connected")
    received = page.locator(".log .in")
    await page.get_by_role("button", name="Put into").click()
    await expect(received).to_have_text(re.compile('"state":"queued"'))
    await page.get_by_role("button", name="Let a worker").click()
    await expect(received.nth(2)).to_contain_text('"state":"done","primes":41538')
    await expect(page.locator(".log .event").last).to_contain_text("200 1 done")
    await page.get_by_label("Primes below").fill("100")
    await page.get_by_role("button", name="Put into").click()
    await expect(received.nth(3)).to_contain_text("queued")
    if PHP is not None:
        printed = await shell("deferred/worker.php", "--once", api=gateway.internal_port)
        assert printed == "job 2: delivered\n"
        await expect(received.nth(5)).to_contain_text('"primes":25,"below":100')
