"""What things are called in Redis.

PREFIX{xx}meta:CHANNEL      keys about a channel; xx is one of 64 parts, chosen by the channel's
                            name, and a hash tag: in a cluster a part lies on one node
PREFIX{nodes}alive          the workers that live
PREFIXc:CHANNEL, PREFIXn:NODE    what is published to subscribers, and to one worker
"""

from typing import Final
from zlib import crc32

PARTS: Final = 64
_NODE: Final = 8


class Names:
    """The names for one prefix."""

    __slots__ = ("_channel", "_node", "alive", "bases", "inboxes", "prefix", "reaping", "topics")

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.bases = tuple(f"{prefix}{{{part:02x}}}" for part in range(PARTS))
        self.topics = f"{prefix}c:"
        """What the names that channels are published under begin with."""
        self.inboxes = f"{prefix}n:"
        self.alive = f"{prefix}{{nodes}}alive"
        self.reaping = f"{prefix}{{nodes}}reaping"
        self._channel = self.topics.encode()
        self._node = self.inboxes.encode()

    def base(self, channel: str) -> str:
        """What the keys about a channel begin with."""
        return self.bases[crc32(channel.encode()) % PARTS]

    def topic(self, channel: str) -> bytes:
        """What the channel is published under."""
        return self._channel + channel.encode()

    def inbox(self, node: str) -> bytes:
        """Where a worker hears questions and answers."""
        return self._node + node.encode()

    def channel_of(self, topic: bytes) -> str | None:
        """The channel that is published under the name, None where the name is none."""
        if not topic.startswith(self._channel):
            return None
        try:
            return topic[len(self._channel) :].decode()
        except UnicodeDecodeError:
            return None


def is_node(text: str) -> bool:
    """Whether a worker may be called so."""
    return len(text) == _NODE and text.isascii() and text.isprintable() and " " not in text
