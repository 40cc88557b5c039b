"""Which rules hold for which channel: the configuration's `channels:`, first match wins."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from gateway.routing.patterns import Pattern

from . import names
from .broker import ChannelRules

_REMEMBERED: Final = 10_000
"""Names whose rules are remembered; clients choose names, so it has an end."""


@dataclass(frozen=True, slots=True)
class Authorization:
    """The PHP script that is asked whether a client may join."""

    upstream: str
    script: str


@dataclass(frozen=True, slots=True)
class ChannelPolicy:
    """One entry of `channels:`. `match` is its pattern as written; metrics may show it."""

    match: str = ""
    rules: ChannelRules = field(default_factory=ChannelRules)
    authorization: Authorization | None = None


DEFAULTS: Final = ChannelPolicy()
"""What holds for a channel that no entry matches."""


class Policies:
    """The entries in their order. Immutable but for what it remembers; a reload makes a new one."""

    __slots__ = ("_entries", "_known")

    def __init__(self, entries: Iterable[ChannelPolicy] = ()) -> None:
        self._entries = tuple((Pattern(entry.match), entry) for entry in entries)
        self._known: dict[str, ChannelPolicy] = {}

    def of(self, channel: str) -> ChannelPolicy:
        """What holds for the channel; ChannelNameError when no channel may be called so."""
        known = self._known.get(channel)
        if known is not None:
            return known
        names.check(channel)
        found = DEFAULTS
        for pattern, entry in self._entries:
            if pattern.matches(channel):
                found = entry
                break
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[channel] = found
        return found
