"""The idempotency keys of one channel: what became of the messages published with them.

A key counts for five minutes from its first use. The window is bounded; when it is full the
oldest key is forgotten first. Nothing here waits or reads a clock.
"""

from collections import OrderedDict
from typing import Final

from gateway.channels.broker import Receipt

SECONDS: Final = 300.0
KEYS: Final = 10_000


class Window:
    """Receipts by key, in the order of their first use."""

    __slots__ = ("_limit", "_receipts")

    def __init__(self, limit: int = KEYS) -> None:
        self._limit = limit
        # A plain dict would be searched from its start for the oldest key that is left.
        self._receipts: OrderedDict[str, tuple[float, Receipt]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._receipts)

    def find(self, key: str, now: float) -> Receipt | None:
        """The receipt that was kept under the key, while it counts."""
        found = self._receipts.get(key)
        if found is None or now - found[0] >= SECONDS:
            return None
        return found[1]

    def keep(self, key: str, receipt: Receipt, now: float) -> None:
        """Remember what became of the message with this key."""
        self.expire(now)
        if len(self._receipts) >= self._limit:
            self._receipts.popitem(last=False)
        self._receipts[key] = (now, receipt)

    def expire(self, now: float) -> None:
        """Forget the keys whose time is over."""
        while self._receipts:
            oldest = next(iter(self._receipts))
            if now - self._receipts[oldest][0] < SECONDS:
                break
            self._receipts.popitem(last=False)
