"""The Broker protocol: where channels live.

A worker has one broker and talks to it through `channels.service` alone. What fulfils the
protocol lives in `gateway.brokers`: memory (one process), hub (many workers, one machine),
redis and nats (many machines). One contract suite runs over all of them.

Calls about one channel take effect in the order in which they were made, also when several are
under way. The broker remembers who of its worker has joined: when it comes back after having been
away, or moves to another server, it joins them again itself, and calls `Receiver.on_gap` unless
it can hand over everything that was missed, in order.

Errors raised by every method that reaches out: `BrokerUnavailableError` when the broker is away
(at once, never after a long wait: each call has a deadline), `UnsupportedByBrokerError` when
`abilities` lacks what was asked.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from gateway.errors import GatewayError

from .publication import Message, Position, Publication


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a broker can do; `wsgate check` refuses channels that ask for more."""

    history: bool
    presence: bool
    explicit: bool
    listing: bool
    idempotency: bool
    exact_counts: bool
    """Whether `max_subscribers` and subscriber counts are exact across workers."""


@dataclass(frozen=True, slots=True)
class ChannelRules:
    """What the configuration says of one channel; seconds and counts, None where unlimited."""

    explicit: bool = False
    max_subscribers: int | None = None
    history_size: int = 0
    history_ttl: float = 0.0
    presence: bool = False
    idle_ttl: float = 30.0

    @property
    def keeps_history(self) -> bool:
        """Whether publications of the channel can be asked for later."""
        return self.history_size > 0 and self.history_ttl > 0


class Member(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A connection as others in a channel see it."""

    id: str
    user: str = ""


class Receipt(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What became of a message: how many were subscribed, where it stands in the stream.

    `position` is NOWHERE where the channel keeps no history.

    `repeated` is set when the idempotency key was seen before: nothing was published and the
    rest is the first receipt.
    """

    subscribers: int
    position: Position
    repeated: bool = False


Outcome = Receipt | GatewayError
"""What became of a message: its receipt, or why it was not published."""


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of history, oldest first.

    `position` is the stream's position at the moment of reading. `recovered` is False when
    `since` was given and the stretch after it is not whole; then `publications` is empty.
    """

    publications: tuple[Publication, ...]
    position: Position
    recovered: bool = True


class ChannelState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A channel as the API shows it; `messages` counts what its history holds."""

    name: str
    subscribers: int
    messages: int
    position: Position


class Receiver(Protocol):
    """What a broker tells its worker; implemented by `channels.service`.

    Called from the event loop; never waits, never raises. Publications of one channel come in
    the order of their offsets.
    """

    def on_publication(self, publication: Publication) -> None:
        """Deliver to every local subscriber of its channel."""

    def on_join(self, channel: str, member: Member) -> None:
        """A member came (channels with presence only)."""

    def on_leave(self, channel: str, member: Member) -> None:
        """A member went (channels with presence only)."""

    def on_closed(self, channel: str) -> None:
        """The channel was closed under its subscribers.

        The broker has taken out every member of this worker, also those that joined between
        the closing and this call.
        """

    def on_gap(self, channel: str | None) -> None:
        """Publications may have been missed, in one channel or (None) in all of them."""

    async def on_question(self, question: bytes) -> bytes:
        """Another worker asks something about a connection held here; the answer goes back."""


class Broker(Protocol):
    """Where channels live; see the module's docstring for the errors."""

    abilities: Abilities
    node: str
    """Random name of this worker's life; the first characters of its connections' ids."""

    @property
    def ready(self) -> bool:
        """Whether calls can succeed now; /health/ready says so."""

    async def start(self, receiver: Receiver) -> None:
        """Connect; where the broker is away, return and keep trying in the background."""

    async def stop(self) -> None:
        """Leave in order; members that remain are gone for everybody. Idempotent."""

    async def open(self, channel: str, rules: ChannelRules) -> bool:
        """Open the channel; True when it was not open before."""

    async def close(self, channel: str) -> bool:
        """Close it, forget its history, tell its subscribers; False when there was none."""

    async def publish(self, channel: str, message: Message, rules: ChannelRules) -> Receipt:
        """Store and send; when it returns, the message is where subscribers will get it.

        Raises ChannelNotFoundError for an explicit channel that is not open.
        """

    def post(
        self,
        channel: str,
        message: Message,
        rules: ChannelRules,
        done: Callable[[Outcome], None],
    ) -> Receipt | None:
        """Publish for a caller without a task: the receipt where it is known at once.

        Otherwise None, and `done` is called once with what became of it, from the event loop and
        never before this returns. `done` must not raise. What is wrong at once is raised at once.
        """

    async def join(self, channel: str, member: Member, rules: ChannelRules) -> Position:
        """Add a subscriber held by this worker; from its return on, nothing is missed.

        Raises ChannelNotFoundError, ChannelFullError. Joining twice changes nothing.
        """

    async def leave(self, channel: str, member: Member) -> None:
        """Take a subscriber away; one that was not there changes nothing.

        Never raises: while the broker is away it is remembered that the member has gone.
        """

    async def history(
        self, channel: str, rules: ChannelRules, *, since: Position | None, limit: int | None
    ) -> Page:
        """With `since`: what followed it, whole or not at all. Without: the newest `limit`."""

    async def presence(self, channel: str) -> tuple[Member, ...]:
        """Who is there, each connection once, in the order of joining where it is known."""

    async def state(self, channel: str) -> ChannelState | None:
        """The channel as it stands, None when it does not exist."""

    async def list(
        self, match: str, *, limit: int, after: str
    ) -> tuple[tuple[ChannelState, ...], str | None]:
        """Channels whose name matches the pattern, by name; and the cursor of the next page."""

    async def ask(self, node: str, question: bytes) -> bytes:
        """Put a question to the worker of that name; NodeGoneError when there is none."""
