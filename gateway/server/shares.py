"""How many connections to one upstream each worker may have, so that the sum keeps the cap.

Every worker is promised a limit. A limit is raised at once and counts from that moment; it is
lowered by asking, and what was asked back counts until the worker says that it has let go. So the
sum of what counts never exceeds the cap, whatever arrives late. Whoever needs more than it has
gets it from those who need less, so that one busy worker can have the whole cap. Where more
workers need a connection than there are, they take turns.

Without I/O and without a clock.
"""

from dataclasses import dataclass
from typing import NamedTuple


class Grant(NamedTuple):
    """A limit that holds for a worker from now on; `number` is the worker's to repeat."""

    holder: str
    number: int
    limit: int


@dataclass(slots=True)
class Stake:
    """One worker's part of the cap."""

    limit: int = 0
    """What it has been told."""
    counted: int = 0
    """What it may be using: never below the limit, above it until it has let go."""
    demand: int = 0
    number: int = 0


class Shares:
    """The books of one upstream."""

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self._stakes: dict[str, Stake] = {}
        self._order: list[str] = []

    @property
    def counted(self) -> int:
        """Connections that may be open now, all workers together."""
        return sum(stake.counted for stake in self._stakes.values())

    @property
    def contested(self) -> bool:
        """Whether somebody who needs a connection has to wait for its turn."""
        return any(stake.demand and not stake.limit for stake in self._stakes.values())

    def limit_of(self, holder: str) -> Grant:
        """What a worker has been told, to be said again after its connection was lost."""
        stake = self._stakes[holder]
        return Grant(holder, stake.number, stake.limit)

    def __contains__(self, holder: str) -> bool:
        return holder in self._stakes

    def add(self, holder: str) -> None:
        """A worker has come; it has nothing yet."""
        if holder not in self._stakes:
            self._stakes[holder] = Stake()
            self._order.append(holder)

    def remove(self, holder: str) -> None:
        """A worker is dead, its connections with it."""
        if self._stakes.pop(holder, None) is not None:
            self._order.remove(holder)

    def report(self, holder: str, *, number: int, demand: int, held: int) -> None:
        """A worker says how many connections it could use, and how many it has, or may open.

        What it has counts only when it says so knowing its newest limit (`number`).
        """
        stake = self._stakes.get(holder)
        if stake is None:
            return
        stake.demand = max(demand, 0)
        if number == stake.number:
            stake.counted = max(held, stake.limit)

    def take_turns(self) -> None:
        """Another one comes first; called now and then while the shares are contested."""
        if self._order:
            self._order.append(self._order.pop(0))

    def settle(self) -> list[Grant]:
        """The limits that change now, those that are lowered first."""
        before = {name: stake.limit for name, stake in self._stakes.items()}
        fair = self._fair()
        self._shrink_to_cap()
        lacking = {
            name: fair[name] - stake.limit
            for name, stake in self._stakes.items()
            if fair[name] > stake.limit
        }
        if lacking:
            self._call_back(sum(lacking.values()), fair)
        self._hand_out(fair)
        return self._changes(before)

    def _fair(self) -> dict[str, int]:
        """What each may have: no more than it needs, and nobody less than others but by need."""
        names = self._order
        even = self.cap // max(len(names), 1)
        if all(stake.demand <= even for stake in self._stakes.values()):
            return dict.fromkeys(names, even)
        shares = dict.fromkeys(names, 0)
        free = self.cap
        hungry = [name for name in names if self._stakes[name].demand]
        while hungry and free > 0:
            each = free // len(hungry)
            if not each:
                for name in hungry[:free]:
                    shares[name] += 1
                break
            for name in hungry:
                more = min(each, self._stakes[name].demand - shares[name])
                shares[name] += more
                free -= more
            hungry = [name for name in hungry if self._stakes[name].demand > shares[name]]
        return shares

    def _shrink_to_cap(self) -> None:
        """A cap that was lowered is kept by all, the largest first."""
        over = sum(stake.limit for stake in self._stakes.values()) - self.cap
        while over > 0:
            largest = max(self._stakes.values(), key=lambda stake: stake.limit)
            largest.limit -= 1
            over -= 1

    def _call_back(self, wanted: int, fair: dict[str, int]) -> None:
        """Ask those who have more than their fair share, the largest surplus first."""
        promised = sum(stake.limit for stake in self._stakes.values())
        # What is free, or on its way back, need not be asked for.
        missing = wanted - (self.cap - promised)
        while missing > 0:
            name = max(self._stakes, key=lambda name: self._stakes[name].limit - fair[name])
            stake = self._stakes[name]
            if stake.limit <= fair[name]:
                return
            stake.limit -= 1
            missing -= 1

    def _hand_out(self, fair: dict[str, int]) -> None:
        """Give what is free: first to those who need it, then evenly."""
        free = self._give(fair, self.cap - self.counted)
        if free > 0:
            self._give(dict.fromkeys(self._order, self.cap), free)

    def _give(self, goals: dict[str, int], free: int) -> int:
        """Raise the limits to the goals as far as that goes, the smallest first; what is left."""
        while free > 0:
            below = [name for name in self._order if self._stakes[name].limit < goals[name]]
            if not below:
                break
            stake = self._stakes[min(below, key=lambda name: self._stakes[name].limit)]
            stake.limit += 1
            # What it has not let go of yet need not be found for it.
            if stake.limit > stake.counted:
                stake.counted = stake.limit
                free -= 1
        return free

    def _changes(self, before: dict[str, int]) -> list[Grant]:
        grants = []
        for name, stake in self._stakes.items():
            if stake.limit != before[name]:
                stake.number += 1
                grants.append(Grant(name, stake.number, stake.limit))
        return sorted(grants, key=lambda grant: grant.limit - before[grant.holder])
