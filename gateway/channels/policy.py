"""Which rules hold for which channel: the configuration's `channels:`, first match wins."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from gateway.routing.patterns import Pattern

from . import names
from .broker import ChannelRules
from .subscriber import Subscriber

_REMEMBERED: Final = 10_000
"""Names whose rules are remembered; clients choose names, so it has an end."""


@dataclass(frozen=True, slots=True)
class Authorization:
    """The PHP script that is asked whether a client may join."""

    upstream: str
    script: str


class Witness(Protocol):
    """Somebody who is to know of every coming and going, such as a database.

    Called at the moment at which it has happened in this worker, in that order; never waits, never
    raises.
    """

    def came(self, subscriber: Subscriber, channel: str) -> None:
        """The subscriber was let in; not told again when it joins what it is in."""

    def went(self, subscriber: Subscriber, channel: str) -> None:
        """A subscriber that was in has left, has ended, or lost the channel."""


@dataclass(frozen=True, slots=True)
class ChannelPolicy:
    """One entry of `channels:`. `match` is its pattern as written; metrics may show it."""

    match: str = ""
    rules: ChannelRules = field(default_factory=ChannelRules)
    authorization: Authorization | None = None
    witness: Witness | None = None


DEFAULTS: Final = ChannelPolicy()
"""What holds for a channel that no entry matches."""


class Policies:
    """The entries in their order. Immutable but for what it remembers; a reload makes a new one."""

    __slots__ = ("_entries", "_known", "_witnessed")

    def __init__(self, entries: Iterable[ChannelPolicy] = ()) -> None:
        self._entries = tuple((Pattern(entry.match), entry) for entry in entries)
        self._known: dict[str, ChannelPolicy] = {}
        self._witnessed = any(entry.witness is not None for _, entry in self._entries)

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

    def witness(self, channel: str) -> Witness | None:
        """Who is to know of comings and goings in the channel, if anybody."""
        return self.of(channel).witness if self._witnessed else None
