"""The broker of a single process: the books are here, and no call ever waits.

Several brokers may share one `MemoryExchange`, each as a worker of its own with its own node
name; in service there is one.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Final

from gateway.channels.broker import (
    Abilities,
    ChannelRules,
    ChannelState,
    Member,
    Outcome,
    Page,
    Receipt,
    Receiver,
)
from gateway.channels.publication import Message, Position
from gateway.errors import NodeGoneError

from .books import Books, Departure

_SWEEP_INTERVAL: Final = 1.0


class MemoryExchange:
    """The books, and the workers that are attached to them."""

    __slots__ = ("books", "receivers")

    def __init__(self, books: Books | None = None) -> None:
        self.books = books if books is not None else Books()
        self.receivers: dict[str, Receiver] = {}

    def of(self, nodes: Iterable[str]) -> list[Receiver]:
        """The receivers of these workers; the list does not change when they do."""
        return [self.receivers[node] for node in nodes if node in self.receivers]


class MemoryBroker:
    """Fulfils `gateway.channels.broker.Broker` within the process; owns one sweeping task."""

    abilities: Abilities = Abilities(
        history=True,
        presence=True,
        explicit=True,
        listing=True,
        idempotency=True,
        exact_counts=True,
    )

    def __init__(
        self,
        node: str | None = None,
        *,
        exchange: MemoryExchange | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.node = node or secrets.token_urlsafe(6)
        self._exchange = exchange or MemoryExchange()
        self._books = self._exchange.books
        self._clock = clock
        self._sweeping: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether it was started and not stopped."""
        return self.node in self._exchange.receivers

    @property
    def channels(self) -> int:
        """How many channels there are."""
        return len(self._books)

    async def start(self, receiver: Receiver) -> None:
        """Attach the receiver and begin to sweep."""
        self._exchange.receivers[self.node] = receiver
        if self._sweeping is None:
            self._sweeping = asyncio.create_task(self._sweep(), name="sweep channels")

    async def stop(self) -> None:
        """Detach; members that remain are gone for everybody. Idempotent."""
        self._exchange.receivers.pop(self.node, None)
        for departure in self._books.drop_node(self.node, self._clock()):
            self._tell(departure)
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait([self._sweeping])
            self._sweeping = None

    async def open(self, channel: str, rules: ChannelRules) -> bool:
        """Open the channel; True when it was not open before."""
        return self._books.open(channel, rules, self._clock())

    async def close(self, channel: str) -> bool:
        """Close it, forget its history, tell its subscribers; False when there was none."""
        nodes = self._books.close(channel, self._clock())
        if nodes is None:
            return False
        for receiver in self._exchange.of(nodes):
            receiver.on_closed(channel)
        return True

    async def publish(self, channel: str, message: Message, rules: ChannelRules) -> Receipt:
        """Keep and deliver; when it returns, every subscriber has been handed the message."""
        return self._publish(channel, message, rules)

    def post(
        self,
        channel: str,
        message: Message,
        rules: ChannelRules,
        done: Callable[[Outcome], None],  # noqa: ARG002 - the receipt is always known at once
    ) -> Receipt | None:
        """The same, without a wait."""
        return self._publish(channel, message, rules)

    def _publish(self, channel: str, message: Message, rules: ChannelRules) -> Receipt:
        published = self._books.publish(channel, message, rules, self._clock())
        if published.publication is not None:
            for receiver in self._exchange.of(published.nodes):
                receiver.on_publication(published.publication)
        return published.receipt

    async def join(self, channel: str, member: Member, rules: ChannelRules) -> Position:
        """Add a subscriber; from its return on, nothing is missed."""
        admission = self._books.join(channel, self.node, member, rules, self._clock())
        for receiver in self._exchange.of(admission.tell):
            receiver.on_join(channel, member)
        return admission.position

    async def leave(self, channel: str, member: Member) -> None:
        """Take a subscriber away; one that was not there changes nothing."""
        departure = self._books.leave(channel, member.id, self._clock())
        if departure is not None:
            self._tell(departure)

    async def history(
        self, channel: str, rules: ChannelRules, *, since: Position | None, limit: int | None
    ) -> Page:
        """With `since`: what followed it, whole or not at all. Without: the newest `limit`."""
        return self._books.history(channel, rules, self._clock(), since=since, limit=limit)

    async def presence(self, channel: str) -> tuple[Member, ...]:
        """Who is there, each connection once, in the order of joining."""
        return self._books.presence(channel)

    async def state(self, channel: str) -> ChannelState | None:
        """The channel as it stands, None when it does not exist."""
        return self._books.state(channel, self._clock())

    async def list(
        self, match: str, *, limit: int, after: str
    ) -> tuple[tuple[ChannelState, ...], str | None]:
        """Channels whose name matches the pattern, by name; and the cursor of the next page."""
        return self._books.list(match, self._clock(), limit=limit, after=after)

    async def ask(self, node: str, question: bytes) -> bytes:
        """Put a question to the worker of that name; NodeGoneError when there is none."""
        receiver = self._exchange.receivers.get(node)
        if receiver is None:
            raise NodeGoneError(f"no worker is called {node!a}")
        return await receiver.on_question(question)

    def _tell(self, departure: Departure) -> None:
        for receiver in self._exchange.of(departure.tell):
            receiver.on_leave(departure.channel, departure.member)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_INTERVAL)
            self._books.sweep(self._clock())
