"""Reading the configuration anew: what may change at once, and what a restart is needed for."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from gateway.config.model import Config
from gateway.errors import GatewayError

from .notify import Notifier

log = structlog.get_logger()

Load = Callable[[], Config]

_FIXED: Final = ("listen", "workers", "broker", "sources")


def fixed_changes(before: Config, after: Config) -> list[str]:
    """The keys that have changed and cannot be changed without a restart."""
    changed = [key for key in _FIXED if getattr(before, key) != getattr(after, key)]
    if (before.tls is None) != (after.tls is None):
        changed.append("tls")
    if before.internal.listen != after.internal.listen:
        changed.append("internal.listen")
    return changed


def settle(before: Config, after: Config) -> Config:
    """The new configuration with the old values of what cannot change."""
    kept = {key: getattr(before, key) for key in _FIXED}
    if (before.tls is None) != (after.tls is None):
        kept["tls"] = before.tls
    internal = after.internal.model_copy(update={"listen": before.internal.listen})
    return after.model_copy(update={**kept, "internal": internal})


async def reload_on(
    signal: asyncio.Event,
    load: Load | None,
    current: Callable[[], Config],
    apply: Callable[[Config], Awaitable[None]],
    notifier: Notifier,
) -> None:
    """Read and apply the file whenever the signal is set, until cancelled.

    A file with mistakes, or one that cannot be applied, changes nothing and is said line by line.
    """
    while True:
        await signal.wait()
        signal.clear()
        if load is None:
            log.warning("nothing to reload", cure="start with: wsgate serve -c FILE")
            continue
        notifier.reloading()
        try:
            config = await asyncio.to_thread(load)
            for key in fixed_changes(current(), config):
                log.warning("change needs a restart", key=key)
            config = settle(current(), config)
            await apply(config)
            log.info("configuration reloaded", routes=[route.name for route in config.routes])
        except GatewayError as exc:
            problems = getattr(exc, "problems", None) or [str(exc)]
            log.error("reload refused, the old configuration stays", problems=list(problems))  # noqa: TRY400 - a mistake in the file has no traceback
        except Exception:
            log.exception("reload failed")
        notifier.ready()


async def beat(notifier: Notifier, interval: float) -> None:
    """Tell the service manager that the event loop turns, until cancelled."""
    while True:
        notifier.alive()
        await asyncio.sleep(interval)
