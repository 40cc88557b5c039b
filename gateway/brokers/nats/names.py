"""What things are called in NATS.

A channel becomes one token of a subject, in base64 for URLs, so that no name can be a wildcard or
cut a subject in two.

    PREFIX.c.CHANNEL          publications of channels without history
    PREFIX.h.BOUNDS.CHANNEL   what is to be kept: stored by the stream of these bounds
    PREFIX.r.BOUNDS.CHANNEL   what has been stored: the stream publishes it again
    PREFIX.n.NODE             questions to one worker
"""

import re
from base64 import urlsafe_b64encode
from typing import Final

from gateway.channels.broker import ChannelRules
from gateway.errors import ConfigurationError

_NODE: Final = re.compile(r"[A-Za-z0-9_-]{8}", re.ASCII)
_PREFIX: Final = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)


class Names:
    """The subjects and streams for one prefix."""

    __slots__ = ("prefix",)

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix.rstrip(":.")
        if not _PREFIX.fullmatch(self.prefix) or ".." in self.prefix or self.prefix[0] == ".":
            raise ConfigurationError(
                f"broker.prefix: {prefix!a} cannot begin a subject of NATS; use letters and digits"
            )

    def plain(self, channel: str) -> str:
        """Where publications go that are not kept."""
        return f"{self.prefix}.c.{_token(channel)}"

    def kept(self, channel: str, rules: ChannelRules) -> str:
        """Where publications go that are to be kept."""
        return f"{self.prefix}.h.{bounds(rules)}.{_token(channel)}"

    def stored(self, channel: str, rules: ChannelRules) -> str:
        """Where they come from when they are kept."""
        return f"{self.prefix}.r.{bounds(rules)}.{_token(channel)}"

    def stream(self, rules: ChannelRules) -> str:
        """The stream that keeps what has these bounds."""
        return f"{self.prefix.replace('.', '_')}_{bounds(rules)}"

    def node(self, node: str) -> str:
        """Where a worker is asked."""
        return f"{self.prefix}.n.{node}"


def bounds(rules: ChannelRules) -> str:
    """The size and the time of a history, as one token."""
    return f"{rules.history_size}_{max(1, int(rules.history_ttl * 1000))}"


def is_node(text: str) -> bool:
    """Whether a worker may be called so."""
    return _NODE.fullmatch(text) is not None


def _token(channel: str) -> str:
    return urlsafe_b64encode(channel.encode()).decode().rstrip("=")
