"""Finding channels by name in all parts."""

import asyncio
from heapq import nsmallest
from typing import Any, Final

from gateway.channels.broker import ChannelState
from gateway.channels.publication import NOWHERE, Position
from gateway.remote.redis_commands import Commands
from gateway.routing.patterns import Pattern

from . import scripts
from .names import Names

_PAGE: Final = 500


class Listing:
    """Channels by name, as they are at the moment of reading."""

    def __init__(self, commands: Commands, names: Names) -> None:
        self._commands, self._names = commands, names

    async def state(self, channel: str) -> ChannelState | None:
        """The channel as it stands."""
        base = self._names.base(channel)
        found = await self._commands.run(scripts.STATE, f"{base}meta:{channel}", base, channel)
        if found is None:
            return None
        subscribers, messages, epoch, offset = found
        position = Position(offset, epoch.decode()) if epoch else NOWHERE
        return ChannelState(channel, subscribers, messages, position)

    async def _part(self, base: str, pattern: Pattern, enough: int, after: str) -> list[str]:
        literal = pattern.text.partition("*")[0]
        start = f"({after}" if after >= literal and after else f"[{literal}" if literal else "-"
        names: list[str] = []
        while len(names) < enough:
            page: list[Any] = await self._commands.call(
                "ZRANGEBYLEX", f"{base}channels", start, "+", "LIMIT", 0, _PAGE
            )
            found = [name.decode(errors="replace") for name in page]
            names += [name for name in found if pattern.matches(name)]
            if len(page) < _PAGE or not found[-1].startswith(literal):
                break
            start = f"({found[-1]}"
        return names[:enough]

    async def find(
        self, match: str, *, limit: int, after: str
    ) -> tuple[tuple[ChannelState, ...], str | None]:
        """Those that match, by name; and the cursor of the next page."""
        pattern = Pattern(match)
        parts = await asyncio.gather(
            *(self._part(base, pattern, limit + 1, after) for base in self._names.bases)
        )
        names = nsmallest(limit + 1, (name for part in parts for name in part))
        states = await asyncio.gather(*(self.state(name) for name in names[:limit]))
        page = tuple(state for state in states if state is not None)
        return page, names[limit - 1] if len(names) > limit else None
