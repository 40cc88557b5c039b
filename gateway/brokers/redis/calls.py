"""Calling the scripts about a channel: which names and arguments go with them."""

import asyncio
import secrets
from typing import Any

from gateway.channels.broker import ChannelRules
from gateway.channels.publication import NOWHERE, Position
from gateway.remote.redis_commands import Commands, Script

from .names import Names

Argument = bytes | str | int


class Calls:
    """Scripts about one channel; each method sends at once and answers with a future."""

    def __init__(self, commands: Commands, names: Names) -> None:
        self.commands, self.names = commands, names

    def run(self, script: Script, channel: str, *arguments: Argument) -> asyncio.Future[Any]:
        """A script that needs no rules."""
        base = self.names.base(channel)
        return self.commands.run(script, f"{base}meta:{channel}", base, channel, *arguments)

    def run_by_rules(
        self,
        script: Script,
        channel: str,
        rules: ChannelRules,
        seen: Position,
        *arguments: Argument,
    ) -> asyncio.Future[Any]:
        """A script that follows the rules; `seen` is how far the channel had come here."""
        kept = rules.keeps_history
        return self.run(
            script,
            channel,
            "1" if rules.explicit else "0",
            rules.history_size if kept else 0,
            max(1, int(rules.history_ttl * 1000)) if kept else 0,
            int(rules.idle_ttl * 1000),
            secrets.token_urlsafe(6),
            seen.epoch,
            seen.offset,
            *arguments,
        )


def position_of(epoch: bytes, offset: int) -> Position:
    """As a script answers it."""
    return Position(offset, epoch.decode()) if epoch else NOWHERE
