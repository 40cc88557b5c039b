"""Saying that this worker lives, clearing up after those that do not, and after ended channels."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

import structlog

from gateway.errors import BrokerUnavailableError
from gateway.remote.redis_commands import Commands

from . import scripts
from .names import PARTS, Names

log = structlog.get_logger()

_PARTS_A_BEAT: Final = 8
_MEMBERS_AT_ONCE: Final = 500


class Upkeep:
    """What every worker does every few seconds, by itself."""

    def __init__(
        self, commands: Commands, names: Names, node: str, *, interval: float, dead_after: float
    ) -> None:
        self._commands, self._names, self._node = commands, names, node
        self._interval, self._dead_after = interval, dead_after
        self._part = 0

    async def run(self, on_forgotten: Callable[[], None]) -> None:
        """Go on until cancelled; `on_forgotten` when this worker's members were taken out."""
        while True:
            await asyncio.sleep(self._interval)
            if not self._commands.ready:
                continue
            try:
                if await self.beat():
                    on_forgotten()
                await self._sweep()
            except BrokerUnavailableError as exc:
                log.debug("upkeep failed", reason=str(exc))

    async def beat(self) -> bool:
        """Say that this worker lives, clear up after the dead; whether it was thought dead."""
        names = self._names
        forgotten, *dead = await self._commands.run(
            scripts.BEAT, names.alive, self._node, int(self._dead_after * 1000), names.reaping
        )
        for node in dead:
            await self._bury(node)
        return bool(forgotten)

    async def depart(self, channels: Iterable[str]) -> None:
        """Take this worker's members out, and its name off the list of the living."""
        self._commands.call("ZREM", self._names.alive, self._node)
        await self._take_out(self._node, sorted({self._names.base(name) for name in channels}))

    async def _bury(self, node: bytes) -> None:
        name = node.decode(errors="replace")
        log.warning("a worker is gone, its members are taken out", node=name)
        await self._take_out(name, self._names.bases)
        await self._commands.call("ZREM", self._names.reaping, node)

    async def _take_out(self, node: str, bases: Iterable[str]) -> None:
        remaining = list(bases)
        while remaining:
            left: list[Any] = await asyncio.gather(
                *(
                    self._commands.run(
                        scripts.REAP,
                        f"{base}held:{node}",
                        base,
                        node,
                        self._names.topics,
                        _MEMBERS_AT_ONCE,
                    )
                    for base in remaining
                )
            )
            remaining = [base for base, count in zip(remaining, left, strict=True) if count]

    async def _sweep(self) -> None:
        """Look at some of the parts for channels that have ended."""
        for _ in range(_PARTS_A_BEAT):
            base = self._names.bases[self._part]
            self._part = (self._part + 1) % PARTS
            await self._commands.run(scripts.SWEEP, f"{base}idle", base)
