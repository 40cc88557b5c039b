"""The broker of one worker of many: the books are in the hub, one message away.

Who of this worker has joined is remembered here. When the connection to the hub was lost and
stands again, all of them are attached anew, and the worker is told that publications may have
been missed; channels that were closed meanwhile are told as closed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import structlog

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
from gateway.channels.publication import Message, Position, Publication
from gateway.errors import BrokerError, GatewayError

from .hub_client import HubClient
from .hub_messages import (
    Attach,
    Listing,
    Named,
    Question,
    Seat,
    Stretch,
    decode_leaf,
    decode_members,
    decode_name,
    decode_names,
    decode_part,
    decode_position,
    decode_printed,
    decode_receipt,
    decode_seat,
    decode_state,
    decode_states,
    decode_truth,
    pack,
    pack_rules,
)
from .hub_wire import LIMIT, FrameTooLargeError, Op

log = structlog.get_logger()

_OVERHEAD: Final = 64 * 1024
_FARTHEST: Final = 1 << 62
_ATTACHING: Final = 30.0
_PUBLISH: Final = Op.PUBLISH


class HubBroker:
    """Fulfils `gateway.channels.broker.Broker` with a connection to the hub that it starts."""

    abilities: Abilities = Abilities(
        history=True,
        presence=True,
        explicit=True,
        listing=True,
        idempotency=True,
        exact_counts=True,
    )

    def __init__(self, client: HubClient) -> None:
        self.node = client.node
        self._client = client
        self._receiver: Receiver | None = None
        self._seats: dict[str, dict[str, Seat]] = {}
        self._parts: dict[int, list[Publication]] = {}
        self._token = 0
        self._before = False
        self._attaching: asyncio.TimerHandle | None = None
        client.on_connected.append(self._connected)
        client.handlers |= {
            Op.ATTACH: self._on_attached,
            Op.PUBLICATION: self._on_publication,
            Op.JOINED: self._on_joined,
            Op.LEFT: self._on_left,
            Op.CLOSED: self._on_closed,
            Op.QUESTION: self._on_question,
            Op.PAGE: self._on_part,
        }

    @property
    def ready(self) -> bool:
        """Whether the hub can be reached, and knows who is here."""
        return self._receiver is not None and self._client.connected and self._attaching is None

    async def start(self, receiver: Receiver) -> None:
        """Connect; where the hub is away, go on trying in the background."""
        self._receiver = receiver
        await self._client.start()
        self._before = self._before or self._client.connected

    async def stop(self) -> None:
        """Let go of the hub; members that remain are gone for everybody. Idempotent."""
        self._receiver = None
        self._seats.clear()
        self._end_attaching()
        await self._client.stop()

    async def open(self, channel: str, rules: ChannelRules) -> bool:
        """Open the channel; True when it was not open before."""
        return await self._truth(Op.OPEN, Named(channel, pack_rules(rules)))

    async def close(self, channel: str) -> bool:
        """Close it, forget its history, tell its subscribers; False when there was none."""
        return await self._truth(Op.CLOSE, Named(channel))

    async def publish(self, channel: str, message: Message, rules: ChannelRules) -> Receipt:
        """Store and send; when it returns, the message is in the books and on its way."""
        asked = _packed(channel, message, rules)
        return decode_receipt(await self._client.call(_PUBLISH, asked))

    def post(
        self,
        channel: str,
        message: Message,
        rules: ChannelRules,
        done: Callable[[Outcome], None],
    ) -> Receipt | None:
        """Publish for a caller without a task."""
        self._client.ask(_PUBLISH, _packed(channel, message, rules), partial(_receive, done))
        return None

    async def join(self, channel: str, member: Member, rules: ChannelRules) -> Position:
        """Add a subscriber held by this worker; from its return on, nothing is missed."""
        seat = Seat(channel, member.id, _encodable(member.user), pack_rules(rules))
        answer = self._client.call(Op.JOIN, pack(seat))
        # Noted before the answer: a leave that comes meanwhile finds it.
        seats = self._seats.setdefault(channel, {})
        before = seats.get(member.id)
        seats[member.id] = seat
        try:
            return decode_position(await answer)
        except BaseException:
            if seats.get(member.id) is seat:
                if before is not None:
                    seats[member.id] = before
                else:
                    self._forget(channel, member.id)
            raise

    async def leave(self, channel: str, member: Member) -> None:
        """Take a subscriber away; never raises."""
        self._forget(channel, member.id)
        seat = Seat(channel, member.id, "")
        try:
            await self._client.call(Op.LEAVE, pack(seat))
        except BrokerError:
            # Without a connection the hub has taken it out already; the next one begins without.
            return

    async def history(
        self, channel: str, rules: ChannelRules, *, since: Position | None, limit: int | None
    ) -> Page:
        """With `since`: what followed it, whole or not at all. Without: the newest `limit`."""
        self._token += 1
        token = self._token
        parts = self._parts[token] = []
        offset = 0 if since is None else max(-_FARTHEST, min(since.offset, _FARTHEST))
        epoch = None if since is None else _encodable(since.epoch)
        asked = Stretch(token, channel, pack_rules(rules), offset, epoch, limit)
        try:
            leaf = decode_leaf(await self._client.call(Op.HISTORY, pack(asked)))
        finally:
            del self._parts[token]
        return leaf.page(tuple(parts))

    async def presence(self, channel: str) -> tuple[Member, ...]:
        """Who is there, each connection once, in the order of joining."""
        answer = await self._client.call(Op.PRESENCE, pack(Named(channel)))
        return tuple(Member(identity, user) for identity, user in decode_members(answer))

    async def state(self, channel: str) -> ChannelState | None:
        """The channel as it stands, None when it does not exist."""
        answer = await self._client.call(Op.STATE, pack(Named(channel)))
        state: ChannelState | None = decode_state(answer)
        return state

    async def list(
        self, match: str, *, limit: int, after: str
    ) -> tuple[tuple[ChannelState, ...], str | None]:
        """Channels whose name matches the pattern, by name; and the cursor of the next page."""
        asked = Listing(_encodable(match), limit, _encodable(after))
        states, cursor = decode_states(await self._client.call(Op.LIST, pack(asked)))
        return tuple(states), cursor

    async def ask(self, node: str, question: bytes) -> bytes:
        """Put a question to the worker of that name; NodeGoneError when there is none."""
        return await self._client.call(Op.ASK, pack(Question(_encodable(node), question)))

    async def _truth(self, op: Op, asked: Named) -> bool:
        return bool(decode_truth(await self._client.call(op, pack(asked))))

    def _forget(self, channel: str, member: str) -> None:
        seats = self._seats.get(channel)
        if seats is not None:
            seats.pop(member, None)
            if not seats:
                del self._seats[channel]

    # What the hub tells.

    def _on_publication(self, body: bytes) -> None:
        if self._receiver is not None:
            self._receiver.on_publication(Publication(*decode_printed(body)))

    def _on_joined(self, body: bytes) -> None:
        if self._receiver is not None:
            seat = decode_seat(body)
            self._receiver.on_join(seat.channel, seat.member())

    def _on_left(self, body: bytes) -> None:
        if self._receiver is not None:
            seat = decode_seat(body)
            self._receiver.on_leave(seat.channel, seat.member())

    def _on_closed(self, body: bytes) -> None:
        self._take_out(decode_name(body))

    def _on_question(self, body: bytes) -> Awaitable[bytes] | bytes:
        return b"" if self._receiver is None else self._receiver.on_question(body)

    def _on_part(self, body: bytes) -> None:
        token, part = decode_part(body)
        parts = self._parts.get(token)
        if parts is not None:
            parts.extend(Publication(*printed) for printed in part)

    def _take_out(self, channel: str) -> None:
        self._seats.pop(channel, None)
        if self._receiver is not None:
            self._receiver.on_closed(channel)

    # Coming back.

    def _connected(self) -> None:
        """Attach whoever is here. It is said before anything else, so nobody joins in between."""
        if not self._before:
            self._before = True
            return
        channels = [
            (channel, next(iter(seats.values())).rules, [(s.id, s.user) for s in seats.values()])
            for channel, seats in self._seats.items()
        ]
        self._client.tell(Op.ATTACH, pack(Attach(channels)))
        self._end_attaching()
        loop = asyncio.get_running_loop()
        self._attaching = loop.call_later(_ATTACHING, self._client.reconnect)

    def _on_attached(self, body: bytes) -> None:
        """The hub has seated everybody; nothing that was published since is before this."""
        self._end_attaching()
        for channel in decode_names(body):
            self._take_out(channel)
        if self._receiver is not None:
            self._receiver.on_gap(None)
        log.info("the hub is back", channels=len(self._seats))

    def _end_attaching(self) -> None:
        if self._attaching is not None:
            self._attaching.cancel()
            self._attaching = None


def _encodable(text: str) -> str:
    """Text from a header may hold what is no Unicode; brokers carry none of it."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _encodable_message(message: Message) -> Message:
    if message.content_type.isascii() and message.key.isascii():
        return message
    return Message(
        message.data, _encodable(message.content_type), message.exclude, _encodable(message.key)
    )


def _packed(channel: str, message: Message, rules: ChannelRules) -> bytes:
    if len(message.data) > LIMIT - _OVERHEAD:
        raise FrameTooLargeError(len(message.data))
    return pack((channel, pack_rules(rules), _encodable_message(message)))


def _receive(done: Callable[[Outcome], None], answer: bytes | GatewayError) -> None:
    done(decode_receipt(answer) if isinstance(answer, bytes) else answer)
