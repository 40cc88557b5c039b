"""Posting through a broker whose calls have to be awaited."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from gateway.channels.broker import Outcome, Receipt
from gateway.errors import BrokerUnavailableError, GatewayError
from gateway.tasks import TaskSet


def post_later(
    tasks: TaskSet, publishing: Coroutine[Any, Any, Receipt], done: Callable[[Outcome], None]
) -> None:
    """Let a task publish and call `done`, also when it is cancelled."""
    tasks.spawn(_post(publishing, done), name="posting")


async def _post(publishing: Coroutine[Any, Any, Receipt], done: Callable[[Outcome], None]) -> None:
    try:
        outcome: Outcome = await publishing
    except GatewayError as exc:
        outcome = exc
    except asyncio.CancelledError:
        done(BrokerUnavailableError("the broker is stopping"))
        raise
    done(outcome)
