"""A loop that stood still says so."""

import asyncio
import time

import structlog

from gateway.server.lag import Lag


async def test_a_callback_that_took_too_long_is_told_once() -> None:
    lag = Lag()
    with structlog.testing.capture_logs() as logs:
        await asyncio.sleep(0.02)
        time.sleep(0.35)  # noqa: ASYNC251 - this is what is to be noticed
        await asyncio.sleep(0.01)
        lag.tell()
        told = list(logs)
        lag.stop()
    assert [line["event"] for line in told] == ["event loop blocked"]
    assert told[0]["milliseconds"] >= 150


async def test_what_is_stopped_ticks_no_more() -> None:
    Lag().stop()
    with structlog.testing.capture_logs() as logs:
        time.sleep(0.25)  # noqa: ASYNC251 - nobody is to notice
        await asyncio.sleep(0)
    assert logs == []
