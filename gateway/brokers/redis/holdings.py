"""What this worker holds in Redis, and how it comes back to it.

After a loss the worker listens to every name again, then puts its members back and, for channels
with history, reads what was missed. What cannot be read is a gap, told once. Members that left
while Redis was away are taken out first.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import Any, Final

import structlog

from gateway.brokers import wire
from gateway.brokers.local import Local
from gateway.brokers.turns import Turns
from gateway.channels.broker import ChannelRules, Member, Page, Receiver
from gateway.channels.publication import NOWHERE, Position
from gateway.errors import ChannelError, ChannelFullError, ChannelNotFoundError
from gateway.logs import Throttle
from gateway.remote.redis_subscriptions import Subscriptions

from . import scripts
from .calls import Calls, position_of

log = structlog.get_logger()

_MEMBERS_AT_ONCE: Final = 200
_CHANNELS_AT_ONCE: Final = 500
_OFFSETS_END: Final = 2**53


class Holdings:
    """The channels in which this worker has members, by name."""

    def __init__(self, calls: Calls, subscriptions: Subscriptions, node: str) -> None:
        self._calls, self._subscriptions, self._node = calls, subscriptions, node
        self._locals: dict[str, Local] = {}
        self._departed: dict[tuple[str, str], Member] = {}
        self._turns = Turns()
        self._throttle = Throttle()
        self.malformed = 0

    @property
    def channels(self) -> Iterable[str]:
        """The channels in which Redis may have members of this worker."""
        return {*self._locals, *(channel for channel, _ in self._departed)}

    def clear(self) -> None:
        """Forget everything."""
        self._locals.clear()
        self._departed.clear()

    def find(self, channel: str) -> Local | None:
        """What is held of a channel."""
        return self._locals.get(channel)

    def seen(self, channel: str) -> Position:
        """How far the channel has come here."""
        local = self._locals.get(channel)
        return local.seen if local is not None else NOWHERE

    def turn(self, channel: str) -> AbstractAsyncContextManager[None]:
        """Calls about a channel go out in turn; a join that must listen first holds it."""
        return self._turns.of(channel) if channel in self._turns else nullcontext()

    async def join(self, channel: str, member: Member, rules: ChannelRules) -> Position:
        """As Broker.join."""
        topic = self._calls.names.topic(channel)
        local = self._locals.get(channel)
        if local is None:
            local = self._locals[channel] = Local(rules)
        local.rules = rules
        local.joining += 1
        known = True
        try:
            listens = self._subscriptions.listens(topic)
            async with self.turn(channel) if listens else self._turns.of(channel):
                if not self._subscriptions.listens(topic):
                    await self._subscriptions.want(topic)
                known = member.id in local.members
                # Before the answer: a leave or a closing that comes meanwhile must find it.
                local.members[member.id] = member
                answer = self.send_join(channel, local, [member], again=False)
            return _admitted(channel, local, await answer)
        except ChannelError:
            if not known:
                local.members.pop(member.id, None)
            raise
        finally:
            local.joining -= 1
            self._release(channel, local)

    def send_join(
        self, channel: str, local: Local, members: Sequence[Member], *, again: bool
    ) -> asyncio.Future[Any]:
        """Put members in. Those that were in before are let in again, however full it is."""
        for member in members:
            self._departed.pop((channel, member.id), None)
        limit = local.rules.max_subscribers
        return self._calls.run_by_rules(
            scripts.JOIN,
            channel,
            local.rules,
            local.seen,
            self._calls.names.topic(channel),
            self._node,
            -1 if limit is None else limit,
            "1" if local.rules.presence else "0",
            "1" if again else "0",
            *(text for member in members for text in (member.id, member.user)),
        )

    def send_leave(self, channel: str, members: Sequence[Member]) -> asyncio.Future[Any]:
        """Take members out; those of whom it cannot be told now are remembered."""
        local = self._locals.get(channel)
        if local is not None:
            for member in members:
                local.members.pop(member.id, None)
            self._release(channel, local)
        answer = self._calls.run(
            scripts.LEAVE,
            channel,
            self._calls.names.topic(channel),
            self._node,
            *(text for member in members for text in (member.id, member.user)),
        )
        answer.add_done_callback(partial(self._remember, channel, tuple(members)))
        return answer

    def _remember(
        self, channel: str, members: Sequence[Member], answer: asyncio.Future[Any]
    ) -> None:
        if not answer.cancelled() and answer.exception() is None:
            return
        local = self._locals.get(channel)
        for member in members:
            if local is None or member.id not in local.members:
                self._departed[channel, member.id] = member

    def _release(self, channel: str, local: Local) -> None:
        if local.deserted and self._locals.get(channel) is local:
            del self._locals[channel]
            self._subscriptions.unwant(self._calls.names.topic(channel))

    # What comes in

    def hear(self, channel: str, payload: bytes, receiver: Receiver) -> bool:
        """Something was published under the channel's name; False when its life is a new one."""
        local = self._locals.get(channel)
        if local is None:
            return True
        try:
            if len(payload) > wire.MAX_BYTES:
                raise wire.MalformedError(f"{len(payload)} bytes")  # noqa: TRY301 - one place drops
            match payload[:1]:
                case b"P":
                    return local.pass_on(wire.read_publication(channel, payload), receiver)
                case b"J":
                    receiver.on_join(channel, wire.read_member(payload))
                case b"L":
                    receiver.on_leave(channel, wire.read_member(payload))
                case b"C":
                    self._closed(channel, local, receiver)
                case _:
                    raise wire.MalformedError("of no known kind")  # noqa: TRY301 - see above
        except wire.MalformedError as exc:
            self.drop(exc)
        return True

    def drop(self, error: wire.MalformedError) -> None:
        """Count what could not be read; a line in the log, not one for each."""
        self.malformed += 1
        if self._throttle.allows():
            log.warning("message dropped", reason=str(error), **self._throttle.taken())

    def _closed(self, channel: str, local: Local, receiver: Receiver) -> None:
        # Those that joined since the closing are in the channel's next life: out with them, too.
        members = tuple(local.members.values())
        for bulk in _bulks(members, _MEMBERS_AT_ONCE):
            self.send_leave(channel, bulk)
        local.begin_anew()
        receiver.on_closed(channel)

    # Losing and coming back

    def lose(self) -> None:
        """Nothing is heard any more."""
        for local in self._locals.values():
            local.lose()

    def listen_again(self, receiver: Receiver) -> None:
        """Everything is heard again; what keeps no history has missed what it has missed."""
        for channel, local in tuple(self._locals.items()):
            if local.lost and not local.seen.epoch:
                local.give_up(channel, receiver, NOWHERE)

    async def restore(self, receiver: Receiver) -> None:
        """Bring Redis up to date; BrokerUnavailableError when it is lost again meanwhile."""
        departed, self._departed = self._departed, {}
        await asyncio.gather(
            *(self.send_leave(channel, [member]) for (channel, _), member in departed.items())
        )
        for some in _bulks(tuple(self._locals.items()), _CHANNELS_AT_ONCE):
            await asyncio.gather(
                *(self._restore(channel, local, receiver) for channel, local in some)
            )

    async def _restore(self, channel: str, local: Local, receiver: Receiver) -> None:
        position: Position | None = None
        members = tuple(local.members.values())
        answers = [
            self.send_join(channel, local, bulk, again=True)
            for bulk in _bulks(members, _MEMBERS_AT_ONCE)
        ]
        for answer in await asyncio.gather(*answers):
            if answer[0] != b"ok":
                self._closed(channel, local, receiver)
                return
            position = position_of(*answer[1:])
        if local.lost:
            page = await self.read(channel, local.rules, since=local.seen, limit=None)
            local.recover(channel, page, receiver)
        elif position is not None and position.epoch != local.seen.epoch:
            local.give_up(channel, receiver, position)

    async def read(
        self, channel: str, rules: ChannelRules, *, since: Position | None, limit: int | None
    ) -> Page:
        """As Broker.history."""
        how: tuple[bytes | str | int, ...]
        how = ("newest", "", 0, -1 if limit is None else max(limit, 0))
        if since is not None:
            possible = 0 <= since.offset < _OFFSETS_END
            how = ("since", since.epoch if possible else "", since.offset if possible else 0, -1)
        offset, epoch, whole, *entries = await self._calls.run_by_rules(
            scripts.HISTORY, channel, rules, self.seen(channel), *how
        )
        position = position_of(epoch, offset)
        try:
            publications = tuple(
                wire.publication_of(channel, Position(number, position.epoch), body)
                for number, body in zip(entries[::2], entries[1::2], strict=True)
            )
        except wire.MalformedError as exc:
            self.drop(exc)
            return Page((), position, recovered=since is None)
        return Page(publications, position, recovered=bool(whole))


def _admitted(channel: str, local: Local, answer: list[Any]) -> Position:
    status, *found = answer
    if status == b"full":
        raise ChannelFullError(channel, local.rules.max_subscribers or 0)
    if status != b"ok":
        raise ChannelNotFoundError(channel)
    position = position_of(*found)
    if not local.seen.epoch:
        local.seen = position
    return position


def _bulks(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
