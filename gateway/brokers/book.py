"""What is known of one channel: its rules, members, history and idempotency keys.

Without I/O and without a clock; `Books` holds one for every channel there is.
"""

from collections.abc import KeysView

import msgspec

from gateway.channels.broker import ChannelRules, ChannelState, Member
from gateway.channels.history import History
from gateway.channels.publication import NOWHERE, Position

from .window import Window


class Seat(msgspec.Struct, frozen=True):
    """A member, and the worker that holds its connection."""

    node: str
    member: Member


class Book:
    """One channel. `opened` says that it was opened by name and stays until it is closed."""

    __slots__ = ("_nodes", "history", "opened", "rules", "seats", "touched", "window")

    def __init__(self, rules: ChannelRules, now: float) -> None:
        self.rules = rules
        self.opened = False
        self.seats: dict[str, Seat] = {}
        self.history: History | None = None
        self.window: Window | None = None
        self.touched = now
        self._nodes: dict[str, int] = {}

    @property
    def position(self) -> Position:
        """How far the stream has come."""
        return self.history.position if self.history is not None else NOWHERE

    @property
    def nodes(self) -> KeysView[str]:
        """The workers that hold members; a live view."""
        return self._nodes.keys()

    def seat(self, node: str, member: Member) -> None:
        """Take a member in that is not there yet."""
        self.seats[member.id] = Seat(node, member)
        self._nodes[node] = self._nodes.get(node, 0) + 1

    def unseat(self, member: str, now: float) -> Member:
        """Take a member out that is there."""
        seat = self.seats.pop(member)
        self._nodes[seat.node] -= 1
        if not self._nodes[seat.node]:
            del self._nodes[seat.node]
        self.touched = now
        return seat.member

    def idle(self, now: float) -> bool:
        """Whether nothing would be lost if the channel were forgotten."""
        if self.opened or self.seats or now - self.touched < self.rules.idle_ttl:
            return False
        self.expire(now)
        return not self.history and not self.window

    def expire(self, now: float) -> None:
        """Forget publications and keys whose time is over."""
        if self.history is not None:
            self.history.expire(now)
        if self.window is not None:
            self.window.expire(now)

    def state(self, name: str, now: float) -> ChannelState:
        """The channel as the API shows it."""
        self.expire(now)
        messages = len(self.history) if self.history is not None else 0
        return ChannelState(name, len(self.seats), messages, self.position)
