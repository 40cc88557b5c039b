"""The pool's books: which connection may serve which waiting request, and when.

Everything here is decided at once, by the clock value it is given: no sockets, no awaits, no
callbacks. The pool performs what is decided and reports back how it went. Three promises:
never more connections than the limit (a connection whose end nobody has seen counts, however
useless it is), first in first out, and nobody who waits is forgotten.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, Generic, Protocol, TypeVar

from .address import Address
from .endpoint import Endpoint
from .errors import AddressForbiddenError, ConnectError, QueueFullError
from .slot import NEXT, Slot, State

# Looked up for every request: a global costs a fraction of an enum's attribute.
_IDLE: Final = State.IDLE
_BUSY: Final = State.BUSY

# How long a settling connection is expected back before another one is opened in its stead.
# php-fpm needs about 10 us from END_REQUEST to its next read.
SETTLE_GRACE: Final = 0.005


class Waiter(Protocol):
    """Whoever waits for a connection; `queued_at` is when it first did."""

    queued_at: float


SlotT = TypeVar("SlotT", bound=Slot)
WaiterT = TypeVar("WaiterT", bound=Waiter)


class Slots(Generic[SlotT, WaiterT]):
    """The books of one pool. Every `now` is a value of one clock that never goes back."""

    def __init__(
        self,
        addresses: Sequence[Address],
        *,
        limit: int,
        queue_size: int,
        queue_timeout: float,
        idle_timeout: float,
        retry_for: float,
    ) -> None:
        if not addresses:
            raise ValueError("a pool needs at least one address")
        self.endpoints = tuple(Endpoint(address) for address in addresses)
        self.limit = limit
        self.queue_size = queue_size
        self.queue_timeout = queue_timeout
        self.idle_timeout = idle_timeout
        self.retry_for = retry_for
        # Every connection that has not ended, and those being opened; of them those being opened,
        # and those that run a script whose answer nobody wants.
        self.opened = 0
        self.connecting = 0
        self.draining = 0
        # Busy ones whose answer is being delivered, about to be free.
        self.returning = 0
        self.idle: dict[Endpoint, list[SlotT]] = {endpoint: [] for endpoint in self.endpoints}
        self._only_idle = self.idle[self.endpoints[0]] if len(self.endpoints) == 1 else None
        self.settling: list[SlotT] = []
        # Ordered by queued_at; withdrawal from the middle is O(1), unlike in a deque.
        self.waiting: OrderedDict[WaiterT, None] = OrderedDict()

    @property
    def counts(self) -> dict[State, int]:
        """How many connections stand in each state."""
        idle = sum(map(len, self.idle.values()))
        settling = len(self.settling)
        counts = dict.fromkeys(State, 0)
        counts[State.CONNECTING] = self.connecting
        counts[State.IDLE] = idle
        counts[State.SETTLING] = settling
        counts[State.DRAINING] = self.draining
        counts[State.BUSY] = self.opened - self.connecting - idle - settling - self.draining
        return counts

    # -- the waiting line ------------------------------------------------------------------

    def enqueue(self, waiter: WaiterT) -> None:
        """Put a new waiter at the end, or raise QueueFullError.

        Waiters for whom a connection is being opened, or may be, do not count as queued.
        """
        waiting = len(self.waiting)
        if waiting >= self.queue_size:
            served = self.connecting + max(self.limit - self.opened, 0)
            if waiting >= self.queue_size + served:
                raise QueueFullError(waiting, self.queue_size)
        self.waiting[waiter] = None

    def requeue(self, waiter: WaiterT) -> None:
        """Put back one that was sent and never executed: before everybody who came after it."""
        older: list[WaiterT] = []
        for other in self.waiting:
            if other.queued_at >= waiter.queued_at:
                break
            older.append(other)
        self.waiting[waiter] = None
        self.waiting.move_to_end(waiter, last=False)
        for other in reversed(older):
            self.waiting.move_to_end(other, last=False)

    def withdraw(self, waiter: WaiterT) -> bool:
        """Take a waiter out of the line; False if it was not in it."""
        if waiter not in self.waiting:
            return False
        del self.waiting[waiter]
        return True

    def overdue(self, now: float) -> list[WaiterT]:
        """Take out those who have waited too long."""
        late: list[WaiterT] = []
        while self.waiting:
            first = next(iter(self.waiting))
            if now - first.queued_at < self.queue_timeout:
                break
            del self.waiting[first]
            late.append(first)
        return late

    def oldest_wait(self, now: float) -> float:
        """How long the first in the line has waited; 0.0 when nobody waits."""
        return now - next(iter(self.waiting)).queued_at if self.waiting else 0.0

    # -- whom to give what -----------------------------------------------------------------

    def take(self, now: float) -> SlotT | None:
        """An idle connection, the one used last at the least busy address; now it is busy.

        None if there is none, or if somebody waits and the least busy address is to get a
        connection of its own first (then `wanted` names it).
        """
        # With one address there is nothing to choose.
        idle = self._only_idle if self._only_idle is not None else self._choose_idle(now)
        if not idle:
            return None
        slot = idle.pop()
        self._move(slot, _BUSY, now)
        return slot

    def _choose_idle(self, now: float) -> list[SlotT] | None:
        wanted = self.wanted(now)
        if wanted is not None and not self.idle[wanted]:
            return None
        with_idle = [endpoint for endpoint in self.endpoints if self.idle[endpoint]]
        return self.idle[min(with_idle, key=self._business)] if with_idle else None

    def wanted(self, now: float) -> Endpoint | None:
        """The address where another connection should be opened now, None if nowhere."""
        if self.opened >= self.limit:
            return None
        expected = self.connecting + self.returning
        if self.settling:
            expected += sum(now - slot.since < SETTLE_GRACE for slot in self.settling)
        if len(self.waiting) <= expected:
            return None
        return self._least_busy(now)

    def _least_busy(self, now: float) -> Endpoint | None:
        alive = [endpoint for endpoint in self.endpoints if endpoint.may_connect(now)]
        return min(alive, key=self._business) if alive else None

    def _business(self, endpoint: Endpoint) -> int:
        return endpoint.opened - len(self.idle[endpoint])

    def outage(self, now: float) -> ConnectError | None:
        """Why nobody who waits can be served, if that is certain enough to tell them.

        It is when no connection lives or is being opened, every address has failed and is not
        to be tried at this moment, and either waiting is useless (forbidden) or one address has
        been away for `retry_for` without an end.
        """
        if self.opened - self.draining:
            return None
        error: ConnectError | None = None
        for endpoint in self.endpoints:
            if endpoint.error is None or endpoint.may_connect(now):
                return None
            if isinstance(endpoint.error, AddressForbiddenError):
                error = error or endpoint.error
            elif now - endpoint.away_since < self.retry_for:
                return None
            else:
                error = endpoint.error
        return error

    # -- the life of a connection ------------------------------------------------------------

    def begin_connect(self, endpoint: Endpoint) -> None:
        """A connection is being opened there: it counts from now on."""
        self.opened += 1
        self.connecting += 1
        endpoint.opened += 1
        endpoint.connecting += 1

    def connected(self, slot: SlotT, now: float) -> None:
        """It is open, and idle until somebody takes it."""
        self.connecting -= 1
        slot.endpoint.connecting -= 1
        self.park(slot, now)

    def cancel_connect(self, endpoint: Endpoint) -> None:
        """The attempt is over without a connection."""
        self.opened -= 1
        self.connecting -= 1
        endpoint.opened -= 1
        endpoint.connecting -= 1

    def release(self, slot: SlotT, now: float) -> None:
        """Its answer is complete, but it is not idle before `settled`."""
        self._move(slot, State.SETTLING, now)
        self.settling.append(slot)

    def settled(self, slot: SlotT, now: float) -> None:
        """The application reads from it again."""
        self.settling.remove(slot)
        self.park(slot, now)

    def park(self, slot: SlotT, now: float) -> None:
        """It is idle from now on."""
        self._move(slot, _IDLE, now)
        self.idle[slot.endpoint].append(slot)

    def drain(self, slot: SlotT, now: float) -> None:
        """Nobody wants its answer, but it counts until its end is seen."""
        self._move(slot, State.DRAINING, now)
        self.draining += 1

    def close(self, slot: SlotT, now: float) -> None:
        """It is gone, whatever it was doing."""
        before = slot.state
        self._move(slot, State.CLOSED, now)
        if before is State.IDLE:
            self.idle[slot.endpoint].remove(slot)
        elif before is State.SETTLING:
            self.settling.remove(slot)
        elif before is State.DRAINING:
            self.draining -= 1
        self.opened -= 1
        slot.endpoint.opened -= 1

    def surplus(self, now: float) -> list[SlotT]:
        """The idle connections to close: unused for too long, or more than the limit allows."""
        over = self.opened - self.limit
        found: list[SlotT] = []
        for idle in self.idle.values():
            for slot in idle:
                if now - slot.since >= self.idle_timeout or len(found) < over:
                    found.append(slot)
        return found

    def _move(self, slot: SlotT, state: State, now: float) -> None:
        before = slot.state
        if (before, state) not in NEXT:
            raise RuntimeError(f"a connection cannot go from {before.name} to {state.name}")
        slot.state = state
        slot.since = now
