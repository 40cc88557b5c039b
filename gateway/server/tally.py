"""Who is inside, counted for all workers: the limits of the whole gateway and of one address.

A worker asks before it lets somebody in and says when somebody has left; after its connection was
lost it says anew who is inside. Without I/O.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Literal

Verdict = Literal["", "full", "limited"]


class Tally:
    """Connections by worker and by address."""

    def __init__(self) -> None:
        self.total = 0
        self.addresses: Counter[str] = Counter()
        self._workers: dict[str, Counter[str]] = {}

    def enter(
        self, worker: str, address: str, *, most: int | None, most_of_address: int | None
    ) -> Verdict:
        """Count one in, unless the gateway is full or the address has as many as it may."""
        if most is not None and self.total >= most:
            return "full"
        if most_of_address is not None and self.addresses[address] >= most_of_address:
            return "limited"
        self._add(worker, address, 1)
        return ""

    def leave(self, worker: str, address: str) -> None:
        """Count one out; one that was not counted in changes nothing."""
        if self._workers.get(worker, Counter())[address] > 0:
            self._add(worker, address, -1)

    def replace(self, worker: str, inside: Mapping[str, int]) -> None:
        """All that a worker has inside, in place of what was known of it."""
        self.remove(worker)
        for address, count in inside.items():
            self._add(worker, address, count)

    def remove(self, worker: str) -> None:
        """The worker is dead, its connections with it."""
        for address, count in list(self._workers.pop(worker, {}).items()):
            self._count(address, -count)

    def _add(self, worker: str, address: str, count: int) -> None:
        inside = self._workers.setdefault(worker, Counter())
        inside[address] += count
        if not inside[address]:
            del inside[address]
        self._count(address, count)

    def _count(self, address: str, count: int) -> None:
        self.total += count
        self.addresses[address] += count
        if not self.addresses[address]:
            del self.addresses[address]
