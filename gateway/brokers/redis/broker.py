"""The broker for many machines: channels live in Redis, workers are told through its PUBLISH.

A worker has two connections: one for commands, whose order is the order of the calls, and one
that listens. History, offsets, members and idempotency keys change in Lua scripts, so that two
workers never see half of anything. What is received is data: it is decoded, never evaluated.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.brokers import wire
from gateway.brokers.posting import post_later
from gateway.brokers.settling import Settling
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
from gateway.errors import BrokerUnavailableError, ChannelNotFoundError
from gateway.remote.patience import patience
from gateway.remote.redis import open_server
from gateway.remote.redis_commands import Commands
from gateway.remote.redis_subscriptions import Subscriptions
from gateway.tasks import TaskSet

from . import scripts
from .calls import Calls, position_of
from .holdings import Holdings
from .listing import Listing
from .names import Names
from .questions import Questions
from .upkeep import Upkeep

log = structlog.get_logger()

_KEYS_COUNT: Final = 300_000
_FAREWELL: Final = 2.0


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. A worker that has not been heard of for `dead_after` is taken out."""

    call: float = 0.9
    ask: float = 5.0
    ping: float = 5.0
    beat: float = 5.0
    dead_after: float = 20.0


class RedisBroker:
    """Fulfils `gateway.channels.broker.Broker`; see the module's docstring.

    Made where the event loop will run; ConfigurationError when the URL cannot be used.
    """

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
        url: str,
        *,
        prefix: str = "wsgate:",
        node: str | None = None,
        timing: Timing | None = None,
    ) -> None:
        timing = timing or Timing()
        server = open_server(url)
        self.node = node or secrets.token_urlsafe(6)
        names = Names(prefix)
        self._settling = Settling(self._settle)
        commands = Commands(server.link, on_up=self._settling.disturb, deadline=timing.call)
        self._names, self._commands = names, commands
        self._inbox = names.inbox(self.node)
        self._subscriptions = Subscriptions(
            server.ear,
            on_message=self._on_message,
            on_up=self._on_up,
            on_down=self._on_down,
            ping_interval=timing.ping,
        )
        self._calls = Calls(commands, names)
        self._holdings = Holdings(self._calls, self._subscriptions, self.node)
        counted = server.counts_receivers
        self._questions = Questions(
            commands, names, self.node, counted=counted, deadline=timing.ask
        )
        self._upkeep = Upkeep(
            commands, names, self.node, interval=timing.beat, dead_after=timing.dead_after
        )
        self._listing = Listing(commands, names)
        self._tasks = TaskSet()
        self._receiver: Receiver | None = None

    # Life

    @property
    def ready(self) -> bool:
        """Whether both connections stand and everything of this worker is known to Redis."""
        return self._commands.ready and self._subscriptions.ready and self._settling.settled

    @property
    def malformed(self) -> int:
        """Messages that were dropped because they are not what a gateway sends."""
        return self._holdings.malformed

    async def start(self, receiver: Receiver) -> None:
        """Connect in the background."""
        self._receiver = receiver
        self._subscriptions.want(self._inbox)
        self._commands.start()
        self._subscriptions.start()
        self._tasks.spawn(self._settling.run(), name="redis broker")
        self._tasks.spawn(self._upkeep.run(self._settling.disturb), name="redis upkeep")

    async def stop(self) -> None:
        """Take this worker's members out and disconnect. Idempotent."""
        self._receiver = None
        await self._tasks.close()
        await self._questions.close()
        if self._commands.ready:
            try:
                async with patience(_FAREWELL):
                    await self._upkeep.depart(self._holdings.channels)
            except (BrokerUnavailableError, TimeoutError) as exc:
                log.warning("left without saying so", reason=str(exc))
        self._holdings.clear()
        await self._subscriptions.stop()
        await self._commands.stop()

    # Channels

    async def open(self, channel: str, rules: ChannelRules) -> bool:
        """Open the channel; True when it was not open before."""
        async with self._holdings.turn(channel):
            seen = self._holdings.seen(channel)
            answer = self._calls.run_by_rules(scripts.OPEN, channel, rules, seen)
        return bool(await answer)

    async def close(self, channel: str) -> bool:
        """Close it, forget its history, tell its subscribers; False when there was none."""
        async with self._holdings.turn(channel):
            answer = self._calls.run(scripts.CLOSE, channel, self._names.topic(channel))
        return bool(await answer)

    async def publish(self, channel: str, message: Message, rules: ChannelRules) -> Receipt:
        """Keep and send, in one step; when it returns, Redis has done both."""
        async with self._holdings.turn(channel):
            answer = self._calls.run_by_rules(
                scripts.PUBLISH,
                channel,
                rules,
                self._holdings.seen(channel),
                self._names.topic(channel),
                wire.body_of(message),
                message.key,
                _KEYS_COUNT,
            )
        status, *found = await answer
        if status == b"closed":
            raise ChannelNotFoundError(channel)
        count, epoch, offset = found
        return Receipt(count, position_of(epoch, offset), repeated=status == b"again")

    def post(
        self,
        channel: str,
        message: Message,
        rules: ChannelRules,
        done: Callable[[Outcome], None],
    ) -> Receipt | None:
        """Publish for a caller without a task."""
        post_later(self._tasks, self.publish(channel, message, rules), done)
        return None

    async def join(self, channel: str, member: Member, rules: ChannelRules) -> Position:
        """Listen, then add the subscriber; from its return on, nothing is missed."""
        if not (self._subscriptions.ready and self._commands.ready):
            raise BrokerUnavailableError("Redis cannot be reached")
        return await self._holdings.join(channel, member, rules)

    async def leave(self, channel: str, member: Member) -> None:
        """Take a subscriber away; remembered while Redis is away."""
        async with self._holdings.turn(channel):
            answer = self._holdings.send_leave(channel, [member])
        try:
            await answer
        except BrokerUnavailableError:
            return  # it is remembered, and told when Redis is back

    async def history(
        self, channel: str, rules: ChannelRules, *, since: Position | None, limit: int | None
    ) -> Page:
        """With `since`: what followed it, whole or not at all. Without: the newest `limit`."""
        return await self._holdings.read(channel, rules, since=since, limit=limit)

    async def presence(self, channel: str) -> tuple[Member, ...]:
        """Who is there, each connection once, in the order of joining."""
        found = await self._calls.run(scripts.PRESENCE, channel)
        members = []
        for key, value in zip(found[::2], found[1::2], strict=True):
            number, _, user = value.partition(b" ")
            members.append((int(number), Member(key.decode(), user.decode())))
        return tuple(member for _, member in sorted(members, key=lambda each: each[0]))

    async def state(self, channel: str) -> ChannelState | None:
        """The channel as it stands, None when it does not exist."""
        return await self._listing.state(channel)

    async def list(
        self, match: str, *, limit: int, after: str
    ) -> tuple[tuple[ChannelState, ...], str | None]:
        """Channels whose name matches the pattern, by name; and the cursor of the next page."""
        return await self._listing.find(match, limit=limit, after=after)

    async def ask(self, node: str, question: bytes) -> bytes:
        """Put a question to the worker of that name; NodeGoneError when there is none."""
        if node == self.node and self._receiver is not None:
            return await self._receiver.on_question(question)
        return await self._questions.ask(node, question)

    # What comes from Redis

    def _on_message(self, name: bytes, payload: bytes) -> None:
        if self._receiver is None:
            return
        if name == self._inbox:
            try:
                self._questions.on_letter(payload, self._receiver)
            except wire.MalformedError as exc:
                self._holdings.drop(exc)
            return
        channel = self._names.channel_of(name)
        if channel is not None and not self._holdings.hear(channel, payload, self._receiver):
            # A new life of the channel: Redis may have lost more than this one.
            self._settling.disturb()

    def _on_down(self) -> None:
        self._settling.lose()
        self._holdings.lose()

    def _on_up(self) -> None:
        if self._receiver is not None:
            self._holdings.listen_again(self._receiver)
        self._settling.disturb()

    async def _settle(self) -> bool:
        if not (self._commands.ready and self._subscriptions.ready):
            return False  # it is called again when the other one is there
        await self._upkeep.beat()
        if self._receiver is not None:
            await self._holdings.restore(self._receiver)
        return True
