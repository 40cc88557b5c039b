"""One request at a time for each key, across connections (`serialize_by`).

PHP locks a session's file for the whole request, so two frames of one session would occupy two
children of which one only waits. They wait here instead, in the order in which they came, with a
deadline and a limit.
"""

from collections import deque
from typing import Generic, TypeVar

from fastcgi import QueueFullError

T = TypeVar("T")


class Lines(Generic[T]):
    """A line of waiting items for each key that is occupied.

    `limit` counts the waiting of all keys; `wait` is the longest wait in seconds.
    """

    def __init__(self, *, limit: int, wait: float) -> None:
        self._limit = limit
        self._wait = wait
        self._waiting = 0
        self._lines: dict[str, deque[tuple[float, T]]] = {}

    def __len__(self) -> int:
        return self._waiting

    def enter(self, key: str, item: T, now: float) -> bool:
        """Occupy the key, or wait behind it; whether the item may go at once."""
        line = self._lines.get(key)
        if line is None:
            self._lines[key] = deque()
            return True
        if self._waiting >= self._limit:
            raise QueueFullError(self._waiting, self._limit)
        line.append((now + self._wait, item))
        self._waiting += 1
        return False

    def leave(self, key: str) -> T | None:
        """Free the key; the first who waited for it occupies it now and is returned."""
        line = self._lines[key]
        if not line:
            del self._lines[key]
            return None
        self._waiting -= 1
        return line.popleft()[1]

    def expire(self, now: float) -> list[T]:
        """Take out those who have waited too long, oldest first of each key."""
        late: list[T] = []
        for line in self._lines.values():
            while line and line[0][0] <= now:
                late.append(line.popleft()[1])
        self._waiting -= len(late)
        return late
