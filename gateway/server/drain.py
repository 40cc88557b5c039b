"""Leaving in order: what PHP began is answered, clients are told to come back, PHP hears it.

Clients are closed with 1012 one after the other over `shutdown.spread`, so that they do not all
reconnect in the same instant. One that waits for PHP is closed when its answer is out, and at the
latest when the time is over. Each step has its share of `shutdown.timeout`.
"""

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from gateway.codes import CloseCode
from gateway.config.services import Shutdown
from gateway.sessions.session import Session

if TYPE_CHECKING:
    from .worker import Worker

log = structlog.get_logger()

_REASON: Final = "restart"
_STEPS: Final = 50
_ROUND: Final = 0.25


async def drain(worker: "Worker", shutdown: Shutdown, hurry: asyncio.Event) -> None:
    """Go through the steps; ends early when `hurry` is set."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + shutdown.timeout
    sessions = list(worker.services.directory)
    log.info("draining", connections=len(sessions), seconds=shutdown.timeout)
    steps = asyncio.ensure_future(_steps(worker, sessions, shutdown, deadline))
    waiting = asyncio.ensure_future(hurry.wait())
    try:
        await asyncio.wait(
            {steps, waiting}, timeout=shutdown.timeout, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        for task in (steps, waiting):
            task.cancel()
        await asyncio.gather(steps, waiting, return_exceptions=True)


async def _steps(
    worker: "Worker", sessions: list[Session], shutdown: Shutdown, deadline: float
) -> None:
    loop = asyncio.get_running_loop()
    # Something must be left of the time for the disconnect events and the pools.
    end_of_answers = deadline - min(5.0, shutdown.timeout / 3)
    spread = min(shutdown.spread, max(end_of_answers - loop.time(), 0.0))
    size = max(1, -(-len(sessions) // _STEPS))
    groups = [sessions[start : start + size] for start in range(0, len(sessions), size)]
    for group in groups:
        for session in group:
            session.retire(CloseCode.SERVICE_RESTART, _REASON)
        if len(groups) > 1:
            await asyncio.sleep(spread / len(groups))
    directory = worker.services.directory
    while (left := end_of_answers - loop.time()) > 0 and not await directory.emptied(
        min(left, _ROUND)
    ):
        # Whoever was still being let in when it began is told now.
        for session in directory:
            session.retire(CloseCode.SERVICE_RESTART, _REASON)
    for session in directory:
        session.close(CloseCode.SERVICE_RESTART, _REASON)
    left = max(deadline - loop.time() - 0.5, 0.0)
    unsent, _ = await asyncio.gather(
        worker.services.farewell.drained(left), _left_channels(worker, left)
    )
    if unsent:
        log.warning("disconnect events not sent", count=unsent)
    await worker.runtime.close(max(deadline - loop.time() - 0.2, 0.0))


async def _left_channels(worker: "Worker", within: float) -> None:
    """Wait until everybody has left the channels and the databases have been told so."""
    loop = asyncio.get_running_loop()
    end = loop.time() + within
    await worker.services.leaving.join(within)
    await worker.runtime.errands.drained(max(end - loop.time(), 0.0))
