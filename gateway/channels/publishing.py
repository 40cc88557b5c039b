"""Publishing: names and texts are checked, the broker is asked, what was published is counted."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final

from gateway.errors import ChannelNotFoundError

from .broker import Broker, Outcome, Receipt
from .policy import Policies
from .publication import Message, check_text

# A broker may have to look at every channel for each page.
_PAGE: Final = 5000
_AT_ONCE: Final = 100


class Source(StrEnum):
    """Who published; the label of `wsgate_publications_total`."""

    API = "api"
    PHP = "php"
    CLIENT = "client"
    REDIS = "redis"
    POSTGRES = "postgres"


@dataclass(frozen=True, slots=True)
class Broadcast:
    """What became of a message to many channels."""

    channels: int
    subscribers: int


class Publisher:
    """The part of the channel service that publishes; see there for the errors."""

    def __init__(self, broker: Broker, policies: Policies | None) -> None:
        self.policies = policies or Policies()
        """May be replaced at any time (reload); holds for whatever is done from then on."""
        self.publications: Counter[Source] = Counter()
        self._broker = broker

    async def publish(self, channel: str, message: Message, *, source: Source) -> Receipt:
        """Publish; when it returns, the message is where subscribers will get it.

        Raises ChannelNotFoundError for an explicit channel that is not open, NotTextError for a
        text that is not UTF-8.
        """
        rules = self.policies.of(channel).rules
        check_text(channel, message)
        receipt = await self._broker.publish(channel, message, rules)
        self._count(source, receipt)
        return receipt

    def post(
        self, channel: str, message: Message, *, source: Source, done: Callable[[Outcome], None]
    ) -> Receipt | None:
        """The same for a caller without a task: the receipt, or None when `done` is called later.

        Raises what is known to be wrong at once. `done` is called once, from the event loop, and
        must not raise.
        """
        rules = self.policies.of(channel).rules
        check_text(channel, message)
        receipt = self._broker.post(channel, message, rules, partial(self._posted, source, done))
        if receipt is not None:
            self._count(source, receipt)
        return receipt

    async def publish_all(self, match: str, message: Message, *, source: Source) -> Broadcast:
        """Publish to every channel there is now whose name matches the pattern."""
        check_text(match, message)
        channels = subscribers = 0
        after: str | None = ""
        while after is not None:
            page, after = await self._broker.list(match, limit=_PAGE, after=after)
            for number, state in enumerate(page):
                if number % _AT_ONCE == 0:
                    # A broker in this process never gives up the loop by itself.
                    await asyncio.sleep(0)
                try:
                    receipt = await self.publish(state.name, message, source=source)
                except ChannelNotFoundError:
                    continue  # closed since the page was read
                channels += 1
                subscribers += receipt.subscribers
        return Broadcast(channels, subscribers)

    def _posted(self, source: Source, done: Callable[[Outcome], None], outcome: Outcome) -> None:
        if isinstance(outcome, Receipt):
            self._count(source, outcome)
        done(outcome)

    def _count(self, source: Source, receipt: Receipt) -> None:
        if not receipt.repeated:
            self.publications[source] += 1
