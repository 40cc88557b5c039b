"""The bounded history of one channel.

Offsets grow by one. The epoch names this life of the stream: after a restart or an expiry it
changes, and a position from the old life is refused, never guessed. Nothing here waits, reads
a clock or stores to disk; brokers decide where a history lives.
"""

from collections import deque
from collections.abc import Iterable

from gateway.errors import UnrecoverablePositionError

from .publication import Message, Position, Publication, kind_of


class History:
    """Publications in the order of their offsets, at most `size` and none older than `ttl`."""

    __slots__ = ("_channel", "_kept", "_times", "_ttl", "position")

    def __init__(self, channel: str, epoch: str, *, size: int, ttl: float) -> None:
        self._channel = channel
        self._kept: deque[Publication] = deque(maxlen=size)
        self._times: deque[float] = deque(maxlen=size)
        self._ttl = ttl
        self.position = Position(0, epoch)

    def __len__(self) -> int:
        return len(self._kept)

    def append(self, message: Message, now: float) -> Publication:
        """Give the message the next offset and keep it; the oldest makes room."""
        position = Position(self.position.offset + 1, self.position.epoch)
        publication = Publication(
            self._channel, message, kind_of(message.data, message.content_type), position
        )
        self._kept.append(publication)
        self._times.append(now)
        self.position = position
        return publication

    def extend(self, messages: Iterable[Message], now: float) -> None:
        """Append one after the other."""
        for message in messages:
            self.append(message, now)

    def since(self, position: Position, now: float) -> tuple[Publication, ...]:
        """Everything after the position, oldest first.

        Raises UnrecoverablePositionError when the position is of another life, lies ahead of
        the stream, or when anything after it is no longer kept.
        """
        self.expire(now)
        missed = self.position.offset - position.offset
        if position.epoch != self.position.epoch or not 0 <= missed <= len(self._kept):
            raise UnrecoverablePositionError(self._channel, position.offset, position.epoch)
        return tuple(self._kept)[len(self._kept) - missed :]

    def newest(self, limit: int | None, now: float) -> tuple[Publication, ...]:
        """The newest `limit` (None: all) that are kept, oldest first."""
        self.expire(now)
        kept = tuple(self._kept)
        return kept if limit is None else kept[max(0, len(kept) - max(0, limit)) :]

    def expire(self, now: float) -> None:
        """Forget what is older than the time to live; offsets and epoch stay."""
        oldest = now - self._ttl
        while self._times and self._times[0] <= oldest:
            self._times.popleft()
            self._kept.popleft()

    def resize(self, *, size: int, ttl: float) -> None:
        """Go on with other bounds; what exceeds them is forgotten, oldest first."""
        self._ttl = ttl
        if size != self._kept.maxlen:
            self._kept = deque(self._kept, maxlen=size)
            self._times = deque(self._times, maxlen=size)
