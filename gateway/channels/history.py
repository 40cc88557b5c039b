"""The bounded history of one channel.

Offsets grow by one. The epoch names this life of the stream: after a restart or an expiry it
changes, and a position from the old life is refused, never guessed. Nothing here waits, reads
a clock or stores to disk; brokers decide where a history lives.
"""

from collections import deque
from collections.abc import Iterable
from itertools import islice

from gateway.errors import UnrecoverablePositionError

from .publication import Message, Position, Publication, kind_of

_Kept = tuple[float, Publication]


class History:
    """Publications in the order of their offsets, at most `size` and none older than `ttl`."""

    __slots__ = ("_channel", "_kept", "_size", "_ttl", "position")

    def __init__(self, channel: str, epoch: str, *, size: int, ttl: float) -> None:
        self._channel = channel
        # Most channels are somebody's own and silent: an empty deque would cost 600 bytes.
        self._kept: deque[_Kept] | None = None
        self._size = size
        self._ttl = ttl
        self.position = Position(0, epoch)

    def __len__(self) -> int:
        return len(self._kept) if self._kept is not None else 0

    def append(self, message: Message, now: float) -> Publication:
        """Give the message the next offset and keep it; the oldest makes room."""
        position = Position(self.position.offset + 1, self.position.epoch)
        publication = Publication(
            self._channel, message, kind_of(message.data, message.content_type), position
        )
        if self._kept is None:
            self._kept = deque(maxlen=self._size)
        self._kept.append((now, publication))
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
        if position.epoch != self.position.epoch or not 0 <= missed <= len(self):
            raise UnrecoverablePositionError(self._channel, position.offset, position.epoch)
        return self._last(missed)

    def newest(self, limit: int | None, now: float) -> tuple[Publication, ...]:
        """The newest `limit` (None: all) that are kept, oldest first."""
        self.expire(now)
        return self._last(len(self) if limit is None else limit)

    def expire(self, now: float) -> None:
        """Forget what is older than the time to live; offsets and epoch stay."""
        if self._kept is None:
            return
        oldest = now - self._ttl
        while self._kept and self._kept[0][0] <= oldest:
            self._kept.popleft()
        if not self._kept:
            self._kept = None

    def resize(self, *, size: int, ttl: float) -> None:
        """Go on with other bounds; what exceeds them is forgotten, oldest first."""
        self._size, self._ttl = size, ttl
        if self._kept is not None and size != self._kept.maxlen:
            self._kept = deque(self._kept, maxlen=size)

    def _last(self, count: int) -> tuple[Publication, ...]:
        if self._kept is None or count <= 0:
            return ()
        newest = list(islice(reversed(self._kept), count))
        return tuple(publication for _, publication in reversed(newest))
