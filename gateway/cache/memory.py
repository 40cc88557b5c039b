"""Replies in this process: bounded in number and in bytes, the longest unused go first."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from fastcgi import Response

MAX_ENTRIES: Final = 10_000
MAX_BYTES: Final = 32 * 1024 * 1024
_OVERHEAD: Final = 500
"""Bytes an entry takes besides its body and its headers."""


class MemoryStore:
    """Fulfils `backend.stores.Store`."""

    def __init__(
        self,
        *,
        max_entries: int = MAX_ENTRIES,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_entries, self._max_bytes, self._clock = max_entries, max_bytes, clock
        self._entries: OrderedDict[bytes, tuple[float, int, Response]] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> Response | None:
        """The reply, while it is good; it becomes the last one to go."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        until, size, response = entry
        if self._clock() >= until:
            del self._entries[key]
            self.bytes -= size
            return None
        self._entries.move_to_end(key)
        return response

    def put(self, key: bytes, response: Response, ttl: float) -> None:
        """Keep a reply; one that is too large for the whole store is not kept."""
        head = sum(len(name) + len(value) for name, value in response.headers)
        size = len(response.body) + head + len(key) + _OVERHEAD
        before = self._entries.pop(key, None)
        if before is not None:
            self.bytes -= before[1]
        if size > self._max_bytes:
            return
        self._entries[key] = (self._clock() + ttl, size, response)
        self.bytes += size
        while len(self._entries) > self._max_entries or self.bytes > self._max_bytes:
            _, (_, gone, _) = self._entries.popitem(last=False)
            self.bytes -= gone
