"""The channels of all workers, as the hub serves them.

Every message changes the books at once and is answered at once; what it means for others goes
out to the workers concerned in the same turn, so a worker reads answers and events in the order
in which the books changed. A worker whose connection is gone has no members any more; when it
comes back it attaches them again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from gateway.channels.publication import Position
from gateway.errors import ChannelNotFoundError, TooManyChannelsError

from .books import Books, Departure
from .hub_messages import (
    Leaf,
    Printed,
    Seat,
    decode_attach,
    decode_listing,
    decode_named,
    decode_publish,
    decode_question,
    decode_seat,
    decode_stretch,
    pack,
    printed,
    unpack_rules,
)
from .hub_server import Hub, Node
from .hub_wire import TELL, Frame, Op, encode

_SWEEP: Final = 1.0
_PART: Final = 512 * 1024
_PUBLICATION: Final = Op.PUBLICATION


class HubChannels:
    """Books behind a hub; owns one timer."""

    def __init__(
        self,
        hub: Hub,
        books: Books | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.books = books if books is not None else Books()
        self._hub = hub
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        hub.handlers |= {
            Op.ATTACH: self._attach,
            Op.OPEN: self._open,
            Op.CLOSE: self._close,
            Op.PUBLISH: self._publish,
            Op.JOIN: self._join,
            Op.LEAVE: self._leave,
            Op.HISTORY: self._history,
            Op.PRESENCE: self._presence,
            Op.STATE: self._state,
            Op.LIST: self._list,
            Op.ASK: self._ask,
        }
        hub.on_detached.append(self._drop)

    def start(self) -> None:
        """Sweep from now on."""
        self._timer = asyncio.get_running_loop().call_later(_SWEEP, self._sweep)

    def stop(self) -> None:
        """End the sweeping. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        self.books.sweep(self._clock())
        self.start()

    def _attach(self, node: Node, frame: Frame) -> None:
        """Seat the members of a worker that is back; it is told which channels are closed.

        They were members before, so no limit keeps them out now.
        """
        now = self._clock()
        closed = []
        for channel, packed, members in decode_attach(frame.body).channels:
            rules = unpack_rules(packed)
            for identity, user in members:
                seat = Seat(channel, identity, user)
                try:
                    admission = self.books.join(
                        channel, node.name, seat.member(), rules, now, again=True
                    )
                except (ChannelNotFoundError, TooManyChannelsError):
                    closed.append(channel)
                    break
                self._tell(admission.tell, Op.JOINED, seat)
        node.link.tell(Op.ATTACH, pack(closed))

    def _open(self, _node: Node, frame: Frame) -> bytes:
        asked = decode_named(frame.body)
        return pack(self.books.open(asked.channel, unpack_rules(asked.rules), self._clock()))

    def _close(self, _node: Node, frame: Frame) -> bytes:
        asked = decode_named(frame.body)
        nodes = self.books.close(asked.channel, self._clock())
        if nodes is not None:
            self._tell(nodes, Op.CLOSED, asked.channel)
        return pack(nodes is not None)

    def _publish(self, _node: Node, frame: Frame) -> bytes:
        channel, rules, message = decode_publish(frame.body)
        published = self.books.publish(channel, message, unpack_rules(rules), self._clock())
        if published.publication is not None and published.nodes:
            self._tell(published.nodes, _PUBLICATION, printed(published.publication))
        return pack(published.receipt)

    def _join(self, node: Node, frame: Frame) -> bytes:
        asked = decode_seat(frame.body)
        admission = self.books.join(
            asked.channel, node.name, asked.member(), unpack_rules(asked.rules), self._clock()
        )
        self._tell(admission.tell, Op.JOINED, Seat(asked.channel, asked.id, asked.user))
        return pack(admission.position)

    def _leave(self, _node: Node, frame: Frame) -> None:
        asked = decode_seat(frame.body)
        departure = self.books.leave(asked.channel, asked.id, self._clock())
        if departure is not None:
            self._tell_departure(departure)

    def _history(self, node: Node, frame: Frame) -> bytes:
        asked = decode_stretch(frame.body)
        since = None if asked.epoch is None else Position(asked.offset, asked.epoch)
        page = self.books.history(
            asked.channel,
            unpack_rules(asked.rules),
            self._clock(),
            since=since,
            limit=asked.limit,
        )
        part: list[Printed] = []
        size = 0
        for publication in page.publications:
            part.append(printed(publication))
            size += len(publication.message.data) + 64
            if size > _PART:
                node.link.tell(Op.PAGE, pack((asked.token, part)))
                part, size = [], 0
        if part:
            node.link.tell(Op.PAGE, pack((asked.token, part)))
        return pack(Leaf.of(page))

    def _presence(self, _node: Node, frame: Frame) -> bytes:
        members = self.books.presence(decode_named(frame.body).channel)
        return pack([(member.id, member.user) for member in members])

    def _state(self, _node: Node, frame: Frame) -> bytes:
        state = self.books.state(decode_named(frame.body).channel, self._clock())
        return pack(state)

    def _list(self, _node: Node, frame: Frame) -> bytes:
        asked = decode_listing(frame.body)
        states, after = self.books.list(
            asked.match, self._clock(), limit=asked.limit, after=asked.after
        )
        return pack((states, after))

    def _ask(self, _node: Node, frame: Frame) -> Awaitable[bytes]:
        asked = decode_question(frame.body)
        return self._hub.ask(asked.node, Op.QUESTION, asked.question)

    def _drop(self, node: Node) -> None:
        for departure in self.books.drop_node(node.name, self._clock()):
            self._tell_departure(departure)

    def _tell_departure(self, departure: Departure) -> None:
        gone = departure.member
        self._tell(departure.tell, Op.LEFT, Seat(departure.channel, gone.id, gone.user))

    def _tell(self, nodes: Iterable[str], op: Op, message: object) -> None:
        frame = b""
        for name in nodes:
            found = self._hub.nodes.get(name)
            if found is not None:
                frame = frame or encode(TELL, op, 0, pack(message))
                found.link.write(frame)
