"""The broker for many machines over NATS: subjects for publications, JetStream for histories.

There is no shared book of members: counts are those of this worker, and presence, explicit
channels, listing and idempotency keys are not to be had (`abilities`). Without JetStream there
is no history either. What is received is data: it is decoded, never evaluated.
"""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, NoReturn

import structlog

from gateway.brokers import wire
from gateway.brokers.posting import post_later
from gateway.brokers.settling import Settling
from gateway.brokers.turns import Turns
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
from gateway.channels.publication import NOWHERE, Message, Position
from gateway.errors import (
    NodeGoneError,
    UnsupportedByBrokerError,
)
from gateway.tasks import TaskSet

from .client import NatsClient
from .history import Histories
from .library import NobodyError
from .listening import Listening
from .names import Names, is_node

log = structlog.get_logger()

_ANSWERS_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds."""

    call: float = 0.9
    ask: float = 5.0
    ping: float = 5.0


class NatsBroker:
    """Fulfils `gateway.channels.broker.Broker`; see the module's docstring."""

    abilities: Abilities = Abilities(
        history=True,
        presence=False,
        explicit=False,
        listing=False,
        idempotency=False,
        exact_counts=False,
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
        self.node = node or secrets.token_urlsafe(6)
        self._names = Names(prefix)
        self._ask_within = timing.ask
        self._client = NatsClient(
            url,
            on_up=self._on_up,
            on_down=self._on_down,
            on_slow=self._on_slow,
            deadline=timing.call,
            ping_interval=timing.ping,
        )
        self._histories = Histories(self._client, self._names)
        self._listening = Listening(self._client, self._histories, self._names)
        self._turns = Turns()
        self._tasks = TaskSet()
        self._answering = TaskSet()
        self._settling = Settling(self._settle)
        self._serving = False
        self._receiver: Receiver | None = None

    # Life

    @property
    def ready(self) -> bool:
        """Whether the server answers, and what was missed has been read."""
        return self._client.ready and self._settling.settled

    @property
    def malformed(self) -> int:
        """Messages that were dropped because they are not what a gateway sends."""
        return self._listening.malformed

    async def start(self, receiver: Receiver) -> None:
        """Connect in the background."""
        self._receiver = self._listening.receiver = receiver
        self._tasks.spawn(self._settling.run(), name="nats broker")
        self._client.start()

    async def stop(self) -> None:
        """Disconnect. Idempotent."""
        self._receiver = self._listening.receiver = None
        self._settling.lose()
        await self._tasks.close()
        await self._answering.close()
        await self._client.stop()
        self._listening.clear()

    # Channels

    async def open(self, channel: str, rules: ChannelRules) -> bool:  # noqa: ARG002 - the protocol's
        """Explicit channels are not to be had."""
        self._refuse("channels cannot be opened")

    async def close(self, channel: str) -> bool:  # noqa: ARG002 - the protocol's
        """Explicit channels are not to be had."""
        self._refuse("channels cannot be closed")

    async def publish(self, channel: str, message: Message, rules: ChannelRules) -> Receipt:
        """Send, with history through its stream; when it returns, the server has it."""
        if message.key:
            self._refuse("idempotency keys are not kept")
        body = wire.body_of(message)
        if not rules.keeps_history:
            async with self._turns.of(channel):
                sent = await self._client.send(self._names.plain(channel), b"P0  " + body)
            await sent
            return Receipt(self._listening.count(channel), NOWHERE)
        self._need_history()
        position = await self._histories.append(channel, rules, body)
        return Receipt(self._listening.count(channel), position)

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
        """Listen, then look where the channel stands; from its return on, nothing is missed."""
        if rules.explicit or rules.presence or rules.max_subscribers is not None:
            self._refuse("explicit channels, presence and max_subscribers are not to be had")
        if rules.keeps_history:
            self._need_history()
        return await self._listening.join(channel, member, rules)

    async def leave(self, channel: str, member: Member) -> None:
        """Take a subscriber away."""
        await self._listening.leave(channel, member)

    async def history(
        self, channel: str, rules: ChannelRules, *, since: Position | None, limit: int | None
    ) -> Page:
        """With `since`: what followed it, whole or not at all. Without: the newest `limit`."""
        self._need_history()
        return await self._histories.read(channel, rules, since=since, limit=limit)

    async def presence(self, channel: str) -> tuple[Member, ...]:  # noqa: ARG002 - the protocol's
        """Presence is not to be had."""
        self._refuse("there is no presence")

    async def state(self, channel: str) -> ChannelState | None:  # noqa: ARG002 - the protocol's
        """Listing is not to be had."""
        self._refuse("the state of a channel is not known")

    async def ask(self, node: str, question: bytes) -> bytes:
        """Put a question to the worker of that name; NodeGoneError when there is none."""
        if node == self.node and self._receiver is not None:
            return await self._receiver.on_question(question)
        if not is_node(node):
            raise NodeGoneError(f"no worker is called {node!a}")
        try:
            return await self._client.request(self._names.node(node), question, self._ask_within)
        except NobodyError as exc:
            raise NodeGoneError(f"no worker is called {node}") from exc

    async def list(
        self,
        match: str,  # noqa: ARG002 - the protocol's
        *,
        limit: int,  # noqa: ARG002 - the protocol's
        after: str,  # noqa: ARG002 - the protocol's
    ) -> tuple[tuple[ChannelState, ...], str | None]:
        """Listing is not to be had."""
        self._refuse("channels cannot be listed")

    def _refuse(self, what: str) -> NoReturn:
        raise UnsupportedByBrokerError(f"with NATS {what}")

    def _need_history(self) -> None:
        if not self.abilities.history:
            self._refuse("there is no history without JetStream, which this server has not on")

    # Questions

    def _on_question(self, question: bytes, respond: Callable[[bytes], Awaitable[None]]) -> None:
        if self._receiver is not None and len(self._answering) < _ANSWERS_AT_ONCE:
            self._answering.spawn(self._answer(question, respond), name="answer a worker")

    async def _answer(self, question: bytes, respond: Callable[[bytes], Awaitable[None]]) -> None:
        if self._receiver is not None:
            await respond(await self._receiver.on_question(question))

    # Losing and coming back

    def _on_down(self) -> None:
        self._settling.lose()
        self._histories.forget()
        self._listening.lose()

    def _on_up(self) -> None:
        self._listening.listen_again()
        self._settling.disturb()

    def _on_slow(self, subject: str) -> None:
        if self._listening.drop(subject):
            self._settling.disturb()

    async def _settle(self) -> bool:
        if not self._serving:
            await self._client.serve(self._names.node(self.node), self._on_question)
            self._serving = True
        able = await self._client.has_streams()
        if able != self.abilities.history:
            self.abilities = replace(self.abilities, history=able)
            if not able:
                log.warning("NATS has no JetStream: no channel has a history")
        await self._listening.restore()
        return True
