"""Tasks with an owner and a name.

What runs beside its caller is spawned by a `TaskSet` that somebody owns and closes. An exception
nobody awaits is logged once, with its traceback, and counted as nobody's answer.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

import structlog

log = structlog.get_logger()

_CANCEL_AGAIN: Final = 2.0


def forget_cancellations() -> None:
    """Let deadlines work again in a task that goes on after it was woken by a cancellation.

    `asyncio.TaskGroup` and libraries cancel the task that waits for them, to wake it, and do not
    always take that back (`Task.uncancel`). Up to Python 3.11.2 `asyncio.timeout` then raises
    CancelledError where its time is over, which ends the task. Call it between two attempts of a
    task that must not end; a cancellation that is meant has been raised before that.
    """
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()


class TaskSet:
    """The tasks of one owner; `close` cancels and awaits what still runs."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Run `work` beside the caller; its exception is logged, its result is not kept."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task failed", task=task.get_name(), exc_info=error)

    async def join(self, within: float) -> bool:
        """Wait until all have ended, at most `within` seconds; whether they have."""
        if not self._tasks:
            return True
        _, waiting = await asyncio.wait(self._tasks, timeout=within)
        return not waiting

    async def close(self) -> None:
        """Cancel what still runs and wait for its end.

        `asyncio.wait_for` of Python 3.11 loses a cancellation that comes at the same moment as the
        answer. So what has not ended after a while is cancelled again.
        """
        running = set(self._tasks)
        while running:
            for task in running:
                task.cancel()
            _, running = await asyncio.wait(running, timeout=_CANCEL_AGAIN)
