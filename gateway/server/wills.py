"""What PHP is to hear of connections whose worker can no longer say it.

Every connection whose route wants `disconnect` leaves its will in the hub: the params of the event.
Its worker revokes it when the event has been answered. The wills of a dead worker are handed to
another one and are that one's from then on, so that not even its death makes them forgotten.
Without I/O.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

LIMIT: Final = 500_000
"""Wills that are kept at most, of all workers."""
BATCH: Final = 500


class Will(msgspec.Struct, array_like=True, frozen=True):
    """The params of a connection's `disconnect` event, and where it goes."""

    id: str
    route: str
    block: bytes
    state_block: bytes
    serial_key: str = ""


class Wills:
    """The wills of every worker, in the order in which they were left."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._count = 0
        self._workers: dict[str, dict[str, Will]] = {}
        self._orphans: dict[str, Will] = {}

    def __len__(self) -> int:
        return self._count

    def keep(self, worker: str, will: Will) -> bool:
        """Keep a will, in place of an older one; False when there are too many."""
        wills = self._workers.setdefault(worker, {})
        if will.id not in wills:
            if self._count >= self._limit:
                return False
            self._count += 1
        wills[will.id] = will
        return True

    def revoke(self, worker: str, connection: str) -> None:
        """PHP has heard it, or need not."""
        if self._workers.get(worker, {}).pop(connection, None) is not None:
            self._count -= 1

    def replace(self, worker: str, wills: list[Will]) -> None:
        """All that hold for a worker's connections, in place of what was known."""
        self._count -= len(self._workers.pop(worker, {}))
        for will in wills:
            self.keep(worker, will)

    def bury(self, worker: str) -> None:
        """The worker is dead."""
        self._orphans.update(self._workers.pop(worker, {}))

    def inherit(self, heir: str) -> Iterator[list[Will]]:
        """Hand everything that has nobody to a worker, in batches."""
        orphans, self._orphans = self._orphans, {}
        self._workers.setdefault(heir, {}).update(orphans)
        wills = list(orphans.values())
        for start in range(0, len(wills), BATCH):
            yield wills[start : start + BATCH]
