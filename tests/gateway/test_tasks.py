"""Tasks with an owner."""

import asyncio
import contextlib

import pytest
from structlog.testing import capture_logs

from gateway.tasks import TaskSet, forget_cancellations


async def test_a_failure_is_logged_with_its_traceback_and_the_name() -> None:
    tasks = TaskSet()

    async def fail() -> None:
        raise ZeroDivisionError

    with capture_logs() as logs:
        tasks.spawn(fail(), name="failing")
        await tasks.join(1)
        await asyncio.sleep(0)

    assert logs[0]["task"] == "failing"
    assert isinstance(logs[0]["exc_info"], ZeroDivisionError)
    assert len(tasks) == 0


async def test_closing_cancels_and_waits() -> None:
    tasks = TaskSet()
    ended = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(1)

    for _ in range(3):
        tasks.spawn(wait(), name="waiting")
    await asyncio.sleep(0)
    assert not await tasks.join(0.01)
    await tasks.close()

    assert ended == [1, 1, 1]
    assert len(tasks) == 0


async def test_a_cancellation_that_was_lost_is_said_again(monkeypatch) -> None:
    """As `asyncio.wait_for` of Python 3.11 loses one that comes together with the answer."""
    monkeypatch.setattr("gateway.tasks._CANCEL_AGAIN", 0.01)
    tasks = TaskSet()
    lost = []

    async def lose_one() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost.append(1)
        await asyncio.Event().wait()

    tasks.spawn(lose_one(), name="losing")
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await tasks.close()

    assert lost == [1]
    assert len(tasks) == 0


async def test_joining_nobody_is_at_once() -> None:
    assert await TaskSet().join(0)


async def test_a_task_that_goes_on_after_its_group_failed_can_keep_deadlines() -> None:
    """The group wakes it by a cancellation and, before Python 3.13, does not take that back."""

    async def fail() -> None:
        raise ZeroDivisionError

    async def attempt() -> None:
        with contextlib.suppress(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                group.create_task(asyncio.sleep(60))
        forget_cancellations()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.sleep(60)

    await asyncio.create_task(attempt())


async def test_a_cancellation_that_is_meant_is_not_forgotten() -> None:
    async def attempt() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            forget_cancellations()

    task = asyncio.create_task(attempt())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
