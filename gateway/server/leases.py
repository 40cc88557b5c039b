"""How many connections this worker may open to each upstream.

Alone it may use the whole cap. With others it uses what it was lent, and says what it needs and
has whenever that has changed, every 50 ms while there is work and not at all without. A pool that
a reload has replaced finishes what it has begun; until then its connections are taken off the
new one's.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from fastcgi import Pool
from gateway.backend.upstreams import Upstreams

_TICK: Final = 0.05
_OWING_TICK: Final = 0.01
"""While others wait for what this worker is to give back."""
_RECENT: Final = 1.0
"""Who has had work within this time keeps a connection."""

Report = tuple[int, int, int]
"""The number of the newest limit, the demand, and what is held."""


@dataclass(slots=True)
class _Lease:
    pool: Pool
    limit: int = 0
    number: int = 0
    replaced: list[Pool] = field(default_factory=list)
    told: Report = (-1, 0, 0)
    sent: int = 0
    worked_at: float = -_RECENT

    def apply(self) -> None:
        """Keep the limit, all pools together."""
        left = self.limit
        for pool in self.replaced:
            numbers = pool.statistics()
            # Who waits there needs at least one; nobody new comes.
            least = 1 if numbers.waiting and left > 0 else 0
            pool.set_limit(max(numbers.open, least))
            left -= max(numbers.open, least)
        self.pool.set_limit(max(left, 0))

    def report(self, now: float) -> Report:
        """How it stands now."""
        numbers = [pool.statistics() for pool in (self.pool, *self.replaced)]
        demand = sum(each.open - each.idle + each.waiting for each in numbers)
        sent = sum(each.sent for each in numbers)
        if demand or sent != self.sent:
            self.worked_at, self.sent = now, sent
        if now - self.worked_at < _RECENT:
            demand = max(demand, 1)
        held = max(self.limit, sum(each.open for each in numbers))
        return self.number, demand, held

    def tidy(self) -> None:
        """Forget replaced pools that have ended."""
        self.replaced = [
            pool for pool in self.replaced if (n := pool.statistics()).open or n.waiting
        ]

    @property
    def owing(self) -> bool:
        """Whether more is held than may be."""
        return self.told[2] > self.limit

    @property
    def quiet(self) -> bool:
        """Whether nothing of it will change by itself."""
        return not self.told[1] and not self.owing and not self.replaced


class Leases:
    """See the module's docstring. `tell` is how reports leave; None for a worker alone."""

    def __init__(self, tell: Callable[[dict[str, Report]], None] | None = None) -> None:
        self._tell = tell
        self._leases: dict[str, _Lease] = {}
        self._granted: dict[str, tuple[int, int]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def serve(self, upstreams: Upstreams) -> None:
        """Keep the limits of these pools from now on, in place of those before."""
        leases: dict[str, _Lease] = {}
        for upstream in upstreams:
            lease = self._leases.get(upstream.name)
            if lease is None:
                lease = _Lease(upstream.pool)
                lease.number, lease.limit = self._granted.get(upstream.name, (0, 0))
            elif lease.pool is not upstream.pool:
                lease.pool.on_queued = None
                lease.replaced.append(lease.pool)
                lease.pool = upstream.pool
            if self._tell is None:
                lease.limit = upstream.settings.max_connections
            else:
                upstream.pool.on_queued = self._wake
            lease.apply()
            leases[upstream.name] = lease
        self._leases = leases
        self._look()

    def grant(self, limits: Mapping[str, tuple[int, int]]) -> None:
        """The limits that hold from now on, each with its number."""
        for name, (number, limit) in limits.items():
            self._granted[name] = (number, limit)
            lease = self._leases.get(name)
            if lease is not None:
                lease.number, lease.limit = number, limit
                lease.apply()
        self._look()

    def announce(self) -> None:
        """Say everything again; whoever is told may have forgotten it."""
        for lease in self._leases.values():
            lease.told = (-1, 0, 0)
        self._look()

    def stop(self) -> None:
        """Look no more. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for lease in self._leases.values():
            lease.pool.on_queued = None

    def _wake(self) -> None:
        """Somebody waits: look in the next turn, when more may have come."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(0, self._look)

    def _look(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        changed: dict[str, Report] = {}
        for name, lease in self._leases.items():
            if lease.replaced:
                lease.tidy()
                lease.apply()
            report = lease.report(loop.time())
            if report != lease.told:
                lease.told = changed[name] = report
        if changed and self._tell is not None:
            self._tell(changed)
        # A worker alone has nobody to tell; it only waits for replaced pools to end.
        alone = self._tell is None
        if any(lease.replaced or not (alone or lease.quiet) for lease in self._leases.values()):
            owing = any(lease.owing for lease in self._leases.values())
            self._timer = loop.call_later(_OWING_TICK if owing else _TICK, self._look)
