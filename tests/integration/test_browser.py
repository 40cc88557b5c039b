"""The demo page and the examples in a real browser: Debian's Chromium, driven by playwright."""

from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from gateway.server.phpfpm import find_php_fpm

EXAMPLES = Path(__file__).parents[2] / "php-example"
pytestmark = pytest.mark.skipif(find_php_fpm() is None, reason="needs php-fpm")


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
    await expect(page.locator("#examples li")).to_have_count(
        len([path for path in EXAMPLES.iterdir() if path.is_dir()])
    )
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
    await page.set_viewport_size({"width": 375, "height": 812})
    for folder in sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()):
        await page.goto(f"/examples/{folder}/")
        assert (folder, await page.evaluate("document.documentElement.scrollWidth")) == (
            folder,
            375,
        )


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
