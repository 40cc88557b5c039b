"""The books, by a clock that only the test moves."""

from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fastcgi.address import UnixAddress
from fastcgi.endpoint import Endpoint
from fastcgi.errors import (
    AddressForbiddenError,
    ConnectError,
    QueueFullError,
    UpstreamUnavailableError,
)
from fastcgi.slot import Slot, State
from fastcgi.slots import SETTLE_GRACE, Slots

ADDRESSES = [UnixAddress("/a"), UnixAddress("/b")]
AWAY = UpstreamUnavailableError("unix:/a", "gone")
FORBIDDEN = AddressForbiddenError("unix:/a", "no rights")


class Waiter:
    def __init__(self, queued_at: float) -> None:
        self.queued_at = queued_at


def make_slots(addresses=ADDRESSES[:1], **options) -> Slots[Slot, Waiter]:
    limits = {
        "limit": 2,
        "queue_size": 10,
        "queue_timeout": 5.0,
        "idle_timeout": 1.0,
        "retry_for": 3.0,
    }
    return Slots(addresses, **{**limits, **options})


def connect(slots, endpoint=None, now=0.0) -> Slot:
    slot = Slot(endpoint or slots.endpoints[0])
    slots.begin_connect(slot.endpoint)
    slots.connected(slot, now)
    return slot


def fail(
    slots: Slots[Slot, Waiter],
    endpoint: Endpoint,
    error: ConnectError = AWAY,
    *,
    started: float = 0.0,
    now: float = 0.0,
) -> None:
    slots.begin_connect(endpoint)
    slots.cancel_connect(endpoint)
    endpoint.failed(error, started=started, now=now, jitter=1.0)


def test_a_pool_without_an_address_is_refused():
    with pytest.raises(ValueError, match="at least one address"):
        make_slots([])


def test_the_connection_used_last_is_taken_first():
    """The others may grow old and give their children back."""
    slots = make_slots()
    older, newer = connect(slots, now=1.0), connect(slots, now=2.0)
    assert slots.take(3.0) is newer
    assert slots.take(3.0) is older
    assert slots.take(3.0) is None


def test_a_connection_goes_only_where_the_table_allows():
    slots = make_slots()
    slot = connect(slots)
    with pytest.raises(RuntimeError, match="from IDLE to SETTLING"):
        slots.release(slot, 1.0)


def test_the_queue_does_not_count_those_who_get_a_connection_of_their_own():
    slots = make_slots(limit=2, queue_size=1)
    waiters = [Waiter(0.0) for _ in range(4)]
    for waiter in waiters[:3]:
        slots.enqueue(waiter)
    with pytest.raises(QueueFullError) as caught:
        slots.enqueue(waiters[3])
    assert (caught.value.waiting, caught.value.limit) == (3, 1)


def test_a_request_sent_again_stands_before_everybody_who_came_later():
    slots = make_slots()
    waiters = [Waiter(float(second)) for second in range(4)]
    for waiter in (waiters[0], waiters[2], waiters[3]):
        slots.enqueue(waiter)
    slots.requeue(waiters[1])
    assert list(slots.waiting) == waiters


def test_a_request_sent_again_to_an_empty_queue_stands_alone():
    slots = make_slots()
    slots.requeue(waiter := Waiter(0.0))
    assert list(slots.waiting) == [waiter]


def test_who_waits_too_long_is_taken_out_in_order():
    slots = make_slots()
    waiters = [Waiter(0.0), Waiter(1.0), Waiter(2.0)]
    for waiter in waiters:
        slots.enqueue(waiter)
    assert slots.oldest_wait(3.0) == 3.0
    assert slots.overdue(6.0) == waiters[:2]
    assert slots.overdue(6.5) == []
    assert slots.overdue(7.0) == waiters[2:]
    assert slots.oldest_wait(8.0) == 0.0


def test_a_waiter_may_leave_once():
    slots = make_slots()
    slots.enqueue(waiter := Waiter(0.0))
    assert slots.withdraw(waiter)
    assert not slots.withdraw(waiter)


def test_no_connection_is_opened_for_whom_one_is_on_its_way():
    slots = make_slots(limit=3)
    slots.enqueue(Waiter(0.0))
    assert slots.wanted(0.0) is slots.endpoints[0]
    slots.begin_connect(slots.endpoints[0])
    assert slots.wanted(0.0) is None
    slots.enqueue(Waiter(0.0))
    slots.returning = 1
    assert slots.wanted(0.0) is None


def test_a_settling_connection_is_expected_back_for_a_moment_only():
    slots = make_slots(limit=2)
    slot = connect(slots)
    slots.take(0.0)
    slots.release(slot, 1.0)
    slots.enqueue(Waiter(1.0))
    assert slots.wanted(1.0) is None
    assert slots.wanted(1.0 + 2 * SETTLE_GRACE) is slots.endpoints[0]
    slots.settled(slot, 2.0)
    assert slots.take(2.0) is slot


def test_a_settling_connection_may_end():
    slots = make_slots()
    slot = connect(slots)
    slots.take(0.0)
    slots.release(slot, 1.0)
    slots.close(slot, 2.0)
    assert (slots.opened, slots.settling) == (0, [])


def test_the_least_busy_address_is_served_first():
    slots = make_slots(ADDRESSES, limit=4)
    one, other = slots.endpoints
    busy = connect(slots, one)
    idle = connect(slots, one)
    assert slots.take(0.0) in (busy, idle)
    slots.enqueue(Waiter(0.0))
    # `one` has an idle connection, but `other` does nothing at all.
    assert slots.take(0.0) is None
    assert slots.wanted(0.0) is other
    third = connect(slots, other)
    assert slots.take(0.0) is third


def test_at_the_limit_any_idle_connection_serves():
    slots = make_slots(ADDRESSES, limit=2)
    one, _ = slots.endpoints
    slots_of_one = {connect(slots, one), connect(slots, one)}
    assert {slots.take(0.0), slots.take(0.0)} == slots_of_one


def test_an_address_that_failed_is_skipped_and_tried_again_later():
    slots = make_slots(ADDRESSES, limit=4)
    one, other = slots.endpoints
    fail(slots, one, now=1.0)
    slots.enqueue(Waiter(1.0))
    assert slots.wanted(1.0) is other
    busy = connect(slots, other)
    assert slots.take(1.01) is busy
    assert slots.wanted(1.01) is other
    assert slots.wanted(1.05) is one


def test_an_idle_connection_serves_while_every_address_is_being_avoided():
    slots = make_slots(ADDRESSES, limit=4)
    slot = connect(slots, slots.endpoints[0])
    for endpoint in slots.endpoints:
        fail(slots, endpoint, now=1.0)
    assert slots.take(1.0) is slot


def test_pauses_double_up_to_half_a_second_and_begin_anew_after_success():
    slots = make_slots()
    endpoint = slots.endpoints[0]
    pauses = []
    now = 0.0
    for _ in range(6):
        fail(slots, endpoint, started=now, now=now)
        pauses.append(round(endpoint.retry_at - now, 6))
        now = endpoint.retry_at
    assert pauses == [0.05, 0.1, 0.2, 0.4, 0.5, 0.5]
    endpoint.succeeded()
    endpoint.failed(AWAY, started=now, now=now, jitter=0.0)
    assert round(endpoint.retry_at - now, 6) == 0.025


def test_only_one_attempt_at_a_time_is_made_where_one_failed():
    slots = make_slots()
    endpoint = slots.endpoints[0]
    fail(slots, endpoint, now=0.0)
    assert endpoint.may_connect(1.0)
    slots.begin_connect(endpoint)
    assert not endpoint.may_connect(1.0)


def test_an_outage_is_certain_after_retry_for_without_a_gap():
    slots = make_slots(retry_for=3.0)
    endpoint = slots.endpoints[0]
    assert slots.outage(0.0) is None
    now = 0.0
    while now < 3.0:
        fail(slots, endpoint, started=now, now=now)
        assert slots.outage(now) is None
        assert slots.outage(endpoint.retry_at) is None
        now = endpoint.retry_at
    fail(slots, endpoint, started=now, now=now)
    assert slots.outage(now) is AWAY
    # Nobody looked for a while: that it was away then says nothing about now.
    fail(slots, endpoint, started=now + 60, now=now + 60)
    assert slots.outage(now + 60) is None


def test_a_living_connection_contradicts_an_outage():
    slots = make_slots(retry_for=0.0)
    slot = connect(slots)
    fail(slots, slots.endpoints[0])
    assert slots.outage(0.0) is None
    slots.take(0.0)
    slots.drain(slot, 0.0)
    assert slots.outage(0.0) is AWAY


def test_a_forbidden_address_is_said_at_once_unless_another_may_come_back():
    slots = make_slots(ADDRESSES, retry_for=3.0)
    one, other = slots.endpoints
    fail(slots, one, FORBIDDEN)
    assert slots.outage(0.0) is None
    fail(slots, other, AWAY)
    assert slots.outage(0.0) is None
    fail(slots, other, FORBIDDEN)
    assert slots.outage(0.0) is FORBIDDEN


def test_idle_connections_expire_and_make_way_for_a_lower_limit():
    slots = make_slots(limit=3)
    old, middle, young = (connect(slots, now=now) for now in (0.0, 0.5, 0.9))
    assert slots.surplus(0.95) == []
    assert slots.surplus(1.0) == [old]
    slots.limit = 1
    assert slots.surplus(0.95) == [old, middle]
    assert slots.take(0.95) is young


class Books(RuleBasedStateMachine):
    """Plays the pool: does what the books say, and answers, fails and waits at random."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.slots = make_slots(ADDRESSES, limit=3, queue_size=5)
        self.connecting: list[tuple[Endpoint, float]] = []
        self.alive: list[Slot] = []
        self.serving: dict[Slot, Waiter] = {}
        self.accepted: set[Waiter] = set()
        self.ended: set[Waiter] = set()

    def pump(self) -> None:
        slots = self.slots
        while slots.waiting:
            slot = slots.take(self.now)
            if slot is not None:
                first = min(slots.waiting, key=lambda waiter: waiter.queued_at)
                waiter, _ = slots.waiting.popitem(last=False)
                assert waiter.queued_at == first.queued_at, "not first in, first out"
                self.serving[slot] = waiter
                continue
            endpoint = slots.wanted(self.now)
            if endpoint is None:
                break
            assert slots.opened < slots.limit
            slots.begin_connect(endpoint)
            self.connecting.append((endpoint, self.now))
        if slots.outage(self.now) is not None:
            while slots.waiting:
                self.ended.add(slots.waiting.popitem(last=False)[0])
        self.nobody_is_forgotten()

    def nobody_is_forgotten(self) -> None:
        slots = self.slots
        if not slots.waiting:
            return
        assert not slots.counts[State.IDLE]
        expected = slots.counts[State.CONNECTING] + len(slots.settling)
        nowhere = not any(endpoint.may_connect(self.now) for endpoint in slots.endpoints)
        assert slots.opened >= slots.limit or len(slots.waiting) <= expected or nowhere

    def in_state(self, *states: State) -> list[Slot]:
        return [slot for slot in self.alive if slot.state in states]

    @rule(seconds=st.floats(0.0001, 2.0))
    def wait(self, seconds):
        self.now += seconds
        self.ended.update(self.slots.overdue(self.now))
        for slot in self.slots.surplus(self.now):
            self.end(slot)
        self.pump()

    @rule()
    def submit(self):
        waiter = Waiter(self.now)
        try:
            self.slots.enqueue(waiter)
        except QueueFullError:
            assert len(self.slots.waiting) >= 5
        else:
            self.accepted.add(waiter)
        self.now += 1e-6
        self.pump()

    @precondition(lambda self: self.connecting)
    @rule(data=st.data(), works=st.booleans())
    def finish_connecting(self, data, works):
        endpoint, started = self.connecting.pop(data.draw(st.integers(0, len(self.connecting) - 1)))
        if works:
            endpoint.succeeded()
            slot = Slot(endpoint)
            self.slots.connected(slot, self.now)
            self.alive.append(slot)
        else:
            self.slots.cancel_connect(endpoint)
            endpoint.failed(AWAY, started=started, now=self.now, jitter=0.5)
        self.pump()

    @precondition(lambda self: self.in_state(State.BUSY))
    @rule(data=st.data(), how=st.sampled_from(["park", "release", "drain", "die", "again"]))
    def end_request(self, data, how):
        slot = data.draw(st.sampled_from(self.in_state(State.BUSY)))
        waiter = self.serving.pop(slot)
        if how == "again":
            self.slots.requeue(waiter)
        else:
            self.ended.add(waiter)
        if how in ("park", "release", "drain"):
            getattr(self.slots, how)(slot, self.now)
        else:
            self.end(slot)
        self.pump()

    @precondition(lambda self: self.slots.settling)
    @rule(data=st.data())
    def settle(self, data):
        slot = data.draw(st.sampled_from(self.slots.settling))
        self.slots.settled(slot, self.now)
        self.pump()

    @precondition(lambda self: self.in_state(State.IDLE, State.SETTLING, State.DRAINING))
    @rule(data=st.data())
    def peer_closes(self, data):
        choice = self.in_state(State.IDLE, State.SETTLING, State.DRAINING)
        self.end(data.draw(st.sampled_from(choice)))
        self.pump()

    @precondition(lambda self: self.slots.waiting)
    @rule(data=st.data())
    def leave(self, data):
        waiter = data.draw(st.sampled_from(list(self.slots.waiting)))
        assert self.slots.withdraw(waiter)
        self.ended.add(waiter)

    @rule(limit=st.integers(0, 5))
    def change_limit(self, limit):
        self.slots.limit = limit
        for slot in self.slots.surplus(self.now):
            self.end(slot)
        self.pump()

    def end(self, slot: Slot) -> None:
        self.slots.close(slot, self.now)
        self.alive.remove(slot)

    @invariant()
    def the_books_agree_with_the_world(self):
        slots = self.slots
        assert slots.opened == len(self.alive) + len(self.connecting)
        for state in (State.IDLE, State.BUSY, State.SETTLING, State.DRAINING):
            assert slots.counts[state] == len(self.in_state(state))
        assert slots.counts[State.CONNECTING] == len(self.connecting)
        assert sum(endpoint.opened for endpoint in slots.endpoints) == slots.opened
        assert sum(map(len, slots.idle.values())) == slots.counts[State.IDLE]

    @invariant()
    def everybody_is_in_exactly_one_place(self):
        places: Iterator[Waiter] = iter([*self.slots.waiting, *self.serving.values(), *self.ended])
        everybody = list(places)
        assert len(everybody) == len(self.accepted)
        assert set(everybody) == self.accepted


Books.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
test_books = Books.TestCase
