"""Histories in JetStream: one stream for all channels of the same bounds.

A publication is stored under the condition that nothing came between: its offset is one more than
that of the last message, or it is not stored and tried again. Subscribers hear what the stream
publishes after storing, in its order. A channel without messages begins with a marker of offset
0, so that everybody who joins agrees on the epoch. An epoch ends when the last message has been
forgotten, an hour after the history has expired.
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway.brokers import wire
from gateway.brokers.turns import Turns
from gateway.channels.broker import ChannelRules, Page
from gateway.channels.publication import NOWHERE, Position, Publication
from gateway.errors import BrokerUnavailableError

from .client import NatsClient
from .library import ConflictError
from .names import Names, bounds

_TRIES: Final = 200
_REMEMBERED: Final = 10_000
_GRACE: Final = 3600.0
_MARKER: Final = b"M"


@dataclass(frozen=True, slots=True)
class Tail:
    """The last message of a channel: its sequence in the stream, and its position."""

    sequence: int
    position: Position


class Histories:
    """The kept publications of all channels."""

    def __init__(self, client: NatsClient, names: Names) -> None:
        self._client, self._names = client, names
        self._streams: set[str] = set()
        self._tails: dict[str, Tail] = {}
        self._turns = Turns()

    def forget(self) -> None:
        """The server was away: nothing is known of it any more."""
        self._streams.clear()
        self._tails.clear()

    async def append(self, channel: str, rules: ChannelRules, body: bytes) -> Position:
        """Keep a publication; subscribers hear it from the stream."""
        async with self._turns.of(channel):
            for _ in range(_TRIES):
                tail = await self._tail(channel, rules)
                try:
                    return await self._store(channel, rules, tail, body)
                except ConflictError:
                    self._tails.pop(self._names.kept(channel, rules), None)
        raise BrokerUnavailableError(f"{channel}: others were quicker {_TRIES} times")

    async def position(self, channel: str, rules: ChannelRules) -> Position:
        """How far the channel has come; it begins now if it has not."""
        async with self._turns.of(channel):
            for _ in range(_TRIES):
                tail = await self._read_tail(channel, rules)
                if tail is not None:
                    return tail.position
                try:
                    return await self._store(channel, rules, None, None)
                except ConflictError:
                    continue
        raise BrokerUnavailableError(f"{channel}: others were quicker {_TRIES} times")

    async def read(
        self, channel: str, rules: ChannelRules, *, since: Position | None, limit: int | None
    ) -> Page:
        """As Broker.history."""
        tail = await self._read_tail(channel, rules)
        if tail is None:
            return Page((), NOWHERE, recovered=since is None)
        position = tail.position
        if since is None:
            kept = await self._kept(channel, rules, tail)
            return Page(
                tuple(kept[max(0, len(kept) - limit) :] if limit is not None else kept), position
            )
        missed = position.offset - since.offset
        if since.epoch != position.epoch or not 0 <= missed <= rules.history_size:
            return Page((), position, recovered=False)
        found = await self._kept(channel, rules, tail) if missed else []
        whole = [each for each in found if each.position.offset > since.offset]
        expected = list(range(since.offset + 1, position.offset + 1))
        if [each.position.offset for each in whole] != expected:
            return Page((), position, recovered=False)
        return Page(tuple(whole), position)

    async def _kept(self, channel: str, rules: ChannelRules, tail: Tail) -> list[Publication]:
        """What is kept of this life, oldest first."""
        oldest = datetime.now(UTC) - timedelta(seconds=rules.history_ttl)
        found: list[Publication] = []
        subject, stream = self._names.kept(channel, rules), self._names.stream(rules)
        async for _, stored, payload in self._client.read(stream, subject, tail.sequence):
            if stored.astimezone(UTC) <= oldest or not payload.startswith(b"P"):
                continue
            try:
                publication = wire.read_publication(channel, payload)
            except wire.MalformedError:
                continue  # what is missing is seen by the offsets
            if publication.position.epoch == tail.position.epoch:
                found.append(publication)
        return found[-rules.history_size :]

    async def _store(
        self, channel: str, rules: ChannelRules, tail: Tail | None, body: bytes | None
    ) -> Position:
        before = tail.position if tail is not None else Position(0, secrets.token_urlsafe(6))
        sequence = tail.sequence if tail is not None else 0
        offset = before.offset + (body is not None)
        kind = _MARKER if body is None else b"P"
        payload = b"%b%d %b %b" % (kind, offset, before.epoch.encode(), body or b"")
        subject = self._names.kept(channel, rules)
        position = Position(offset, before.epoch)
        sequence = await self._client.append(subject, payload, sequence)
        self._remember(subject, Tail(sequence, position))
        return position

    async def _tail(self, channel: str, rules: ChannelRules) -> Tail | None:
        known = self._tails.get(self._names.kept(channel, rules))
        return known or await self._read_tail(channel, rules)

    async def _read_tail(self, channel: str, rules: ChannelRules) -> Tail | None:
        await self._have_stream(rules)
        subject = self._names.kept(channel, rules)
        last = await self._client.last(self._names.stream(rules), subject)
        if last is None:
            self._tails.pop(subject, None)
            return None
        sequence, payload = last
        pieces = payload[1:].split(b" ", 2)
        try:
            position = Position(int(pieces[0][:16]), pieces[1].decode())
        except (ValueError, IndexError) as exc:
            raise BrokerUnavailableError(f"{channel}: its stream holds something else") from exc
        tail = Tail(sequence, position)
        self._remember(subject, tail)
        return tail

    def _remember(self, subject: str, tail: Tail) -> None:
        if len(self._tails) >= _REMEMBERED:
            self._tails.clear()
        self._tails[subject] = tail

    async def _have_stream(self, rules: ChannelRules) -> None:
        stream = self._names.stream(rules)
        if stream in self._streams:
            return
        prefix, token = self._names.prefix, bounds(rules)
        await self._client.keep(
            stream,
            f"{prefix}.h.{token}.>",
            f"{prefix}.r.{token}.>",
            # One more for the marker of the beginning.
            per_subject=rules.history_size + 1,
            seconds=rules.history_ttl + _GRACE,
        )
        self._streams.add(stream)
