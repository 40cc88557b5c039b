"""All channels of a machine: the one place that decides what a broker without a server does.

The memory broker keeps them in the worker's own process, the hub for all workers; both only carry
messages to and fro. Every method is given the time and the worker (`node`) that asks, changes the
books at once, and returns whom to tell. Nothing here waits.
"""

import secrets
from collections.abc import Callable, Collection
from heapq import nsmallest
from typing import Final

import msgspec

from gateway.channels.broker import ChannelRules, ChannelState, Member, Page, Receipt
from gateway.channels.history import History
from gateway.channels.publication import NOWHERE, Message, Position, Publication, kind_of
from gateway.errors import (
    ChannelFullError,
    ChannelNotFoundError,
    TooManyChannelsError,
    UnrecoverablePositionError,
)
from gateway.routing.patterns import Pattern

from .book import Book
from .window import Window

CHANNELS: Final = 250_000
"""Channels that are kept at most; about 1 KB each without their histories."""


class Published(msgspec.Struct, frozen=True):
    """A publication and the workers to send it to; None where nobody needs it."""

    receipt: Receipt
    publication: Publication | None = None
    nodes: Collection[str] = ()


class Admission(msgspec.Struct, frozen=True):
    """Where a member came in; `tell` are the workers that are to hear of it."""

    position: Position
    tell: Collection[str] = ()


class Departure(msgspec.Struct, frozen=True):
    """A member that went; `tell` are the workers that are to hear of it."""

    channel: str
    member: Member
    tell: Collection[str] = ()


def _new_epoch() -> str:
    return secrets.token_urlsafe(6)


class Books:
    """Every channel there is, by name.

    A channel exists from the moment there is something to keep of it (a member, a publication
    in its history, an idempotency key, an explicit opening) until it is closed, or until it has
    been without all of these for its `idle_ttl`. What was opened stays until it is closed.
    """

    def __init__(self, *, limit: int = CHANNELS, new_epoch: Callable[[], str] = _new_epoch) -> None:
        self._books: dict[str, Book] = {}
        self._limit = limit
        self._new_epoch = new_epoch
        self._unswept: list[str] = []

    def __len__(self) -> int:
        return len(self._books)

    def open(self, channel: str, rules: ChannelRules, now: float) -> bool:
        """Open the channel until it is closed; True when it did not exist before."""
        book = self._find(channel, now)
        existed = book is not None and (book.opened or not rules.explicit)
        if book is None:
            book = self._create(channel, rules, now)
        self._follow(channel, book, rules)
        book.opened = True
        return not existed

    def close(self, channel: str, now: float) -> Collection[str] | None:
        """Forget the channel: the workers whose members must be told, None without a channel."""
        book = self._find(channel, now)
        if book is None:
            return None
        del self._books[channel]
        return book.nodes

    def publish(self, channel: str, message: Message, rules: ChannelRules, now: float) -> Published:
        """Give the message its place; ChannelNotFoundError for an explicit one not open."""
        book = self._find(channel, now)
        if rules.explicit and (book is None or not book.opened):
            raise ChannelNotFoundError(channel)
        if book is None:
            if not rules.keeps_history and not message.key:
                return Published(Receipt(0, NOWHERE))
            book = self._create(channel, rules, now)
        self._follow(channel, book, rules)
        if message.key:
            if book.window is None:
                book.window = Window()
            first = book.window.find(message.key, now)
            if first is not None:
                return Published(Receipt(first.subscribers, first.position, repeated=True))
        book.touched = now
        if book.history is not None:
            publication = book.history.append(message, now)
        else:
            kind = kind_of(message.data, message.content_type)
            publication = Publication(channel, message, kind, NOWHERE)
        receipt = Receipt(len(book.seats), publication.position)
        if message.key and book.window is not None:
            book.window.keep(message.key, receipt, now)
        return Published(receipt, publication, book.nodes)

    def join(
        self,
        channel: str,
        node: str,
        member: Member,
        rules: ChannelRules,
        now: float,
        *,
        again: bool = False,
    ) -> Admission:
        """Seat a member; ChannelNotFoundError, ChannelFullError. Seated already: nothing changes.

        `again` seats one that was a member before also where the channel is full by now.
        """
        book = self._find(channel, now)
        if rules.explicit and (book is None or not book.opened):
            raise ChannelNotFoundError(channel)
        if book is None:
            book = self._create(channel, rules, now)
        self._follow(channel, book, rules)
        if member.id in book.seats:
            return Admission(book.position)
        limit = rules.max_subscribers
        if limit is not None and len(book.seats) >= limit and not again:
            raise ChannelFullError(channel, limit)
        book.seat(node, member)
        return Admission(book.position, tuple(book.nodes) if rules.presence else ())

    def leave(self, channel: str, member: str, now: float) -> Departure | None:
        """Take a member out; None when it was not there."""
        book = self._books.get(channel)
        if book is None or member not in book.seats:
            return None
        gone = book.unseat(member, now)
        return Departure(channel, gone, tuple(book.nodes) if book.rules.presence else ())

    def drop_node(self, node: str, now: float) -> list[Departure]:
        """A worker has died: its members are gone from every channel."""
        departures: list[Departure] = []
        for channel, book in self._books.items():
            if node in book.nodes:
                ids = [key for key, seat in book.seats.items() if seat.node == node]
                gone = [book.unseat(key, now) for key in ids]
                tell = tuple(book.nodes) if book.rules.presence else ()
                departures.extend(Departure(channel, member, tell) for member in gone)
        return departures

    def history(
        self,
        channel: str,
        rules: ChannelRules,
        now: float,
        *,
        since: Position | None = None,
        limit: int | None = None,
    ) -> Page:
        """As Broker.history; a channel that does not exist has an empty one."""
        book = self._find(channel, now)
        if book is not None:
            self._follow(channel, book, rules)
        if book is None or book.history is None:
            return Page((), NOWHERE, recovered=since is None)
        if since is None:
            return Page(book.history.newest(limit, now), book.position)
        try:
            return Page(book.history.since(since, now), book.position)
        except UnrecoverablePositionError:
            return Page((), book.position, recovered=False)

    def presence(self, channel: str) -> tuple[Member, ...]:
        """The members in the order of joining."""
        book = self._books.get(channel)
        return tuple(seat.member for seat in book.seats.values()) if book is not None else ()

    def state(self, channel: str, now: float) -> ChannelState | None:
        """The channel as it stands, None when there is none."""
        book = self._find(channel, now)
        return book.state(channel, now) if book is not None else None

    def list(
        self, match: str, now: float, *, limit: int, after: str
    ) -> tuple[tuple[ChannelState, ...], str | None]:
        """Channels whose name matches, by name; the cursor is the last name of the page."""
        pattern = Pattern(match)
        names = nsmallest(
            limit + 1,
            (
                name
                for name, book in self._books.items()
                if name > after and pattern.matches(name) and not book.idle(now)
            ),
        )
        page = tuple(self._books[name].state(name, now) for name in names[:limit])
        return page, names[limit - 1] if len(names) > limit else None

    def sweep(self, now: float, *, steps: int = 5000) -> None:
        """Let go of what time has ended, looking at no more than `steps` channels a call."""
        if not self._unswept:
            self._unswept = list(self._books)
        for _ in range(min(steps, len(self._unswept))):
            name = self._unswept.pop()
            book = self._find(name, now)
            if book is not None:
                book.expire(now)

    def _find(self, channel: str, now: float) -> Book | None:
        book = self._books.get(channel)
        # Most channels that are asked for have members, which is seen without a call.
        if book is not None and not book.seats and book.idle(now):
            del self._books[channel]
            return None
        return book

    def _create(self, channel: str, rules: ChannelRules, now: float) -> Book:
        if len(self._books) >= self._limit:
            raise TooManyChannelsError(self._limit)
        book = self._books[channel] = Book(rules, now)
        return book

    def _follow(self, channel: str, book: Book, rules: ChannelRules) -> None:
        """Let the channel follow its rules, which a reload may have changed."""
        if book.rules is rules and (book.history is not None or not rules.keeps_history):
            return
        book.rules = rules
        if not rules.keeps_history:
            book.history = None
        elif book.history is None:
            book.history = History(
                channel, self._new_epoch(), size=rules.history_size, ttl=rules.history_ttl
            )
        else:
            book.history.resize(size=rules.history_size, ttl=rules.history_ttl)
