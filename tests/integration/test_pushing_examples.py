"""The examples that push, in a real browser: from pages, from cron, from a worker, from others."""

import asyncio
import os
import re
import shutil
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from gateway.server.phpfpm import find_php_fpm
from tests.postgresserver import PostgresServer, find_postgres
from tests.redisserver import RedisServer, find_redis
from tests.wsgate import Running, dev

ROOT = Path(__file__).parents[2]
PHP = shutil.which("php")
pytestmark = pytest.mark.skipif(find_php_fpm() is None, reason="needs php-fpm")


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


async def test_prices_are_watched_and_left_one_by_one(page: Page) -> None:
    await page.goto("/examples/stocks/")
    state = page.locator("#state")
    await expect(state).to_have_text("connected")
    await page.get_by_role("button", name="One tick").click()
    await expect(state).to_have_text("3 prices were heard")
    await expect(page.locator("tbody tr").first.locator(".number").first).to_have_text(
        re.compile(r"^\d+\.\d\d$")
    )
    await page.get_by_label("Watch GLOBEX").uncheck()
    tick = page.get_by_role("button", name="One tick")
    # The page has left the channel when the tick after it is heard twice only.
    await tick.click()
    await expect(state).to_have_text("2 prices were heard")
    # Who comes later is told the last price without a tick.
    other = await page.context.new_page()
    await other.goto("/examples/stocks/")
    for row in (0, 1, 2):
        price = other.locator("tbody tr").nth(row).locator(".number").first
        await expect(price).to_have_text(re.compile(r"^\d+\.\d\d$"))
    await other.close()


async def sees_the_price(
    browser: Browser, folder: Path, ports: tuple[int, int], source: str, *publish: str
) -> None:
    """The stocks of a gateway with that source; `publish` is what a shell would type."""
    file = ROOT / "php-example" / "stocks" / f"{source}.yaml"
    async with dev(ROOT / "php-example", folder, *ports, "--config", str(file)) as running:
        page = await browser.new_page(base_url=f"http://127.0.0.1:{running.port}")
        await page.goto("/")
        await page.get_by_role("link", name="stocks").click()
        price = page.locator("tbody tr").first.locator(".number").first
        async with asyncio.timeout(20):
            # Until the page has joined, nobody listens.
            while await price.inner_text() != "101.50":
                process = await asyncio.create_subprocess_exec(
                    *publish, stdout=asyncio.subprocess.DEVNULL
                )
                assert await process.wait() == 0
                await asyncio.sleep(0.1)
        await page.close()


@pytest.mark.skipif(find_redis() is None, reason="needs redis-server")
async def test_a_price_published_in_redis_is_seen_in_the_browser(
    browser: Browser, tmp_path: Path, unused_tcp_port_factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = unused_tcp_port_factory(), unused_tcp_port_factory()
    with RedisServer() as server:
        monkeypatch.setenv("REDIS_URL", server.url)
        command = ("redis-cli", "-p", str(server.port), "PUBLISH", "stock.ACME", '{"price":101.5}')
        await sees_the_price(browser, tmp_path / "tmp", ports, "redis", *command)


@pytest.mark.skipif(find_postgres() is None, reason="needs postgres")
async def test_a_price_notified_in_postgresql_is_seen_in_the_browser(
    browser: Browser, tmp_path: Path, unused_tcp_port_factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = unused_tcp_port_factory(), unused_tcp_port_factory()
    with PostgresServer() as server:
        monkeypatch.setenv("DATABASE_URL", server.dsn)
        query = """SELECT pg_notify('stock.ACME', '{"price":101.5}')"""
        psql = str((find_postgres() or Path()) / "psql")
        command = (psql, "-h", str(server.folder), "-U", "tester", "-d", "postgres", "-c", query)
        await sees_the_price(browser, tmp_path / "tmp", ports, "postgres", *command)


@pytest.mark.skipif(find_redis() is None, reason="needs redis-server")
@pytest.mark.skipif(PHP is None, reason="needs the php command")
async def test_the_queue_of_deferred_may_be_a_redis_list(
    browser: Browser, tmp_path: Path, unused_tcp_port_factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = unused_tcp_port_factory(), unused_tcp_port_factory()
    with RedisServer() as server:
        monkeypatch.setenv("QUEUE_REDIS", f"tcp://127.0.0.1:{server.port}")
        async with dev(ROOT / "php-example", tmp_path / "tmp", *ports) as running:
            page = await browser.new_page(base_url=f"http://127.0.0.1:{running.port}")
            await page.goto("/examples/deferred/")
            await expect(page.locator(".log .event")).to_contain_text("connected")
            await page.get_by_role("button", name="Put into").click()
            await expect(page.locator(".log .in")).to_have_text(re.compile("queued"))
            printed = await shell("deferred/worker.php", "--once", api=running.internal_port)
            assert printed == "job 1: delivered\n"
            await expect(page.locator(".log .in").last).to_contain_text('"primes":41538')
            await page.close()
