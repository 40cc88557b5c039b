"""What this worker listens to, and how it comes back to it.

The client library subscribes again by itself. What was missed meanwhile is read from the history
where there is one; elsewhere it is a gap, told once.
"""

import structlog

from gateway.brokers import wire
from gateway.brokers.local import Local
from gateway.brokers.turns import Turns
from gateway.channels.broker import ChannelRules, Member, Receiver
from gateway.channels.publication import NOWHERE, Position
from gateway.logs import Throttle

from .client import NatsClient
from .history import Histories
from .library import Subscription
from .names import Names

log = structlog.get_logger()


class Listening:
    """The channels in which this worker has members, by name."""

    def __init__(self, client: NatsClient, histories: Histories, names: Names) -> None:
        self._client, self._histories, self._names = client, histories, names
        self._locals: dict[str, Local] = {}
        self._subscriptions: dict[str, tuple[str, Subscription]] = {}
        self._channels: dict[str, str] = {}
        self._turns = Turns()
        self._throttle = Throttle()
        self.receiver: Receiver | None = None
        self.malformed = 0

    def clear(self) -> None:
        """Forget everything."""
        self._locals.clear()
        self._subscriptions.clear()
        self._channels.clear()

    def count(self, channel: str) -> int:
        """How many members this worker has there."""
        local = self._locals.get(channel)
        return len(local.members) if local is not None else 0

    async def join(self, channel: str, member: Member, rules: ChannelRules) -> Position:
        """As Broker.join."""
        local = self._locals.get(channel)
        if local is None:
            local = self._locals[channel] = Local(rules)
        local.joining += 1
        try:
            async with self._turns.of(channel):
                local.rules = rules
                await self._listen(channel, rules)
                position = NOWHERE
                if rules.keeps_history:
                    position = await self._histories.position(channel, rules)
                if not local.seen.epoch:
                    local.seen = position
                local.members[member.id] = member
                return position
        finally:
            local.joining -= 1
            await self._release(channel, local)

    async def leave(self, channel: str, member: Member) -> None:
        """As Broker.leave."""
        async with self._turns.of(channel):
            local = self._locals.get(channel)
            if local is not None:
                local.members.pop(member.id, None)
                await self._release(channel, local)

    async def _listen(self, channel: str, rules: ChannelRules) -> None:
        names = self._names
        kept = rules.keeps_history
        subject = names.stored(channel, rules) if kept else names.plain(channel)
        known = self._subscriptions.get(channel)
        if known is not None and known[0] == subject:
            return

        def heard(payload: bytes) -> None:
            self._hear(channel, payload)

        subscription = await self._client.subscribe(subject, heard)
        self._subscriptions[channel] = (subject, subscription)
        self._channels[subject] = channel
        if known is not None:
            self._channels.pop(known[0], None)
            await self._client.unsubscribe(known[1])

    async def _release(self, channel: str, local: Local) -> None:
        if not local.deserted or self._locals.get(channel) is not local:
            return
        del self._locals[channel]
        known = self._subscriptions.pop(channel, None)
        if known is not None:
            self._channels.pop(known[0], None)
            await self._client.unsubscribe(known[1])

    def _hear(self, channel: str, payload: bytes) -> None:
        local, receiver = self._locals.get(channel), self.receiver
        if local is None or receiver is None or payload.startswith(b"M"):
            return
        try:
            if not payload.startswith(b"P"):
                raise wire.MalformedError("of no known kind")  # noqa: TRY301 - one place drops
            publication = wire.read_publication(channel, payload)
        except wire.MalformedError as exc:
            self.malformed += 1
            if self._throttle.allows():
                log.warning("message dropped", reason=str(exc), **self._throttle.taken())
            return
        local.pass_on(publication, receiver)

    # Losing and coming back

    def lose(self) -> None:
        """Nothing is heard any more."""
        for local in self._locals.values():
            local.lose()

    def drop(self, subject: str) -> bool:
        """Messages of one subject were dropped; whether `restore` can read them again."""
        channel = self._channels.get(subject)
        local = self._locals.get(channel) if channel is not None else None
        if local is None or local.lost:
            return False
        local.lose()
        self.listen_again()
        return local.lost

    def listen_again(self) -> None:
        """Everything is heard again; what keeps no history has missed what it has missed."""
        for channel, local in tuple(self._locals.items()):
            if local.lost and not local.seen.epoch and self.receiver is not None:
                local.give_up(channel, self.receiver, NOWHERE)

    async def restore(self) -> None:
        """Read what was missed; BrokerUnavailableError when the server is lost again."""
        for channel, local in tuple(self._locals.items()):
            if local.lost and self.receiver is not None:
                page = await self._histories.read(
                    channel, local.rules, since=local.seen, limit=None
                )
                local.recover(channel, page, self.receiver)
