"""A connection as the channels see it."""

from collections.abc import Callable
from typing import Protocol

from .broker import Member
from .publication import Publication

Lane = tuple[object, Callable[[bytes], None]]
"""The key under which a publication has the bytes (`Publication.encoded`), and who takes them."""


class Subscriber(Protocol):
    """Somebody of this worker who joins channels: a session.

    Called from the event loop; no method waits or raises. Compared by identity. After
    `ChannelService.leave_all` it must not join again.
    """

    __slots__ = ()

    @property
    def id(self) -> str:
        """The connection's id."""

    @property
    def user(self) -> str:
        """Who it is for others, or empty."""

    def deliver(self, publication: Publication) -> None:
        """Hand on a publication; those of one channel come in the order of their offsets."""

    def lane(self) -> "Lane | None":
        """How to hand on what is published without asking it; None where it must be asked.

        Holds until the `Changes` of the channel service are counted up, which it does whenever
        something of this may have changed.
        """

    def on_join(self, channel: str, member: Member) -> None:
        """Another member came (channels with presence only)."""

    def on_leave(self, channel: str, member: Member) -> None:
        """Another member went (channels with presence only)."""

    def on_channel_closed(self, channel: str) -> None:
        """The channel was closed; the subscriber has already been taken out of it."""

    def on_gap(self, channel: str) -> None:
        """Publications of the channel may have been missed; told once for each gap."""
