"""The id of an event: how far its reader has come, in each of its channels.

For clients it is opaque. It is a list of `offset:epoch:tag`, one for each channel that keeps a
history, where the tag stands for the channel's name; `-` when there is none. A position without a
tag is tried on every channel: the epoch tells which one it belongs to. Nothing here waits.
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from gateway.channels.publication import NOWHERE, Position

NEWS_ONLY: Final = "-"
"""The id where no channel keeps a history."""

MOST: Final = 4096
"""Bytes of an id: it comes back in a header, and proxies bound those. Channels for which there is
no room are resumed as if they kept no history."""

_SEPARATOR: Final = ","
# No stream is longer than what every broker can count exactly.
_ENTRY: Final = re.compile(r"([0-9]{1,15}):([A-Za-z0-9._~=+/-]{1,64})(?::([A-Za-z0-9_-]{8}))?")


@lru_cache(maxsize=4096)
def tag(channel: str) -> str:
    """Eight characters for a channel's name."""
    return urlsafe_b64encode(blake2b(channel.encode(), digest_size=6).digest()).decode()


def encode_id(positions: Mapping[str, Position]) -> str:
    """The id of a reader who stands at these positions."""
    entries = []
    room = MOST
    for channel, position in positions.items():
        entry = f"{position.offset}:{position.epoch}:{tag(channel)}"
        room -= len(entry) + 1
        if room < 0:
            break
        entries.append(entry)
    return _SEPARATOR.join(entries) or NEWS_ONLY


class Resume:
    """What a client that comes back says it has; anything may stand in it."""

    __slots__ = ("_positions", "given", "news_only")

    def __init__(self, event_id: str) -> None:
        self.given = bool(event_id)
        """Whether it has been here before."""
        self.news_only = event_id == NEWS_ONLY
        """Whether nothing that it has can be continued."""
        self._positions: dict[str, Position] | None = None
        if self.given and not self.news_only:
            self._positions = _decode(event_id)

    @property
    def garbled(self) -> bool:
        """Whether the client gave what is none of our ids."""
        return self.given and not self.news_only and not self._positions

    def of(self, channel: str) -> Position | None:
        """Where the client stands in the channel, None when it does not say."""
        if not self._positions:
            return None
        return self._positions.get(tag(channel)) or self._positions.get("")


def _decode(event_id: str) -> dict[str, Position]:
    """The positions by tag; nothing at all when any of it cannot be read."""
    positions = {}
    if len(event_id) > 2 * MOST:
        return {}
    for entry in event_id.split(_SEPARATOR):
        found = _ENTRY.fullmatch(entry)
        if found is None:
            return {}
        positions[found[3] or ""] = Position(int(found[1]), found[2])
    return positions


def just_before(position: Position) -> Position:
    """Where a reader stands who gets the publication of that position next."""
    return Position(position.offset - 1, position.epoch) if position.offset else NOWHERE
