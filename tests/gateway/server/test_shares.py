"""The cap of an upstream across workers: never exceeded, always usable, nobody starves."""

from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.server.shares import Grant, Shares


class Pool:
    """A worker's side: what it has open; grants and reports travel as late as they like."""

    def __init__(self) -> None:
        self.limit = 0
        self.number = 0
        self.open = 0
        self.wanted = 0
        self.mail: deque[Grant] = deque()

    def receive(self) -> None:
        if self.mail:
            grant = self.mail.popleft()
            self.limit, self.number = grant.limit, grant.number

    def work(self) -> None:
        """Open what is wanted and permitted; what is running is not stopped."""
        self.open = max(self.open, min(self.wanted, self.limit))

    def finish(self) -> None:
        self.open = min(self.open, self.wanted, self.limit)

    def report(self, shares: Shares, name: str) -> None:
        held = max(self.limit, self.open)
        shares.report(name, number=self.number, demand=self.wanted, held=held)


class World:
    def __init__(self, cap: int, names: str) -> None:
        self.shares = Shares(cap)
        self.pools: dict[str, Pool] = {}
        for name in names:
            self.start(name)

    def start(self, name: str) -> None:
        self.shares.add(name)
        self.pools[name] = Pool()
        self.settle()

    def kill(self, name: str) -> None:
        self.shares.remove(name)
        del self.pools[name]
        self.settle()

    def settle(self) -> None:
        for grant in self.shares.settle():
            self.pools[grant.holder].mail.append(grant)
        assert self.shares.counted <= self.shares.cap

    def want(self, **wanted: int) -> None:
        for name, demand in wanted.items():
            self.pools[name].wanted = demand

    def run(self, rounds: int = 6) -> None:
        """Let everything arrive and everybody work and finish, again and again."""
        for _ in range(rounds):
            for name, pool in self.pools.items():
                while pool.mail:
                    pool.receive()
                pool.finish()
                pool.work()
                pool.report(self.shares, name)
            self.settle()

    def open(self) -> dict[str, int]:
        return {name: pool.open for name, pool in self.pools.items()}


def test_without_load_everybody_has_an_even_share() -> None:
    world = World(8, "ab")
    world.run()

    assert [world.shares.limit_of(name).limit for name in "ab"] == [4, 4]


def test_one_busy_worker_has_the_whole_cap() -> None:
    world = World(8, "abc")
    world.want(b=100)
    world.run()

    assert world.open() == {"a": 0, "b": 8, "c": 0}


def test_two_busy_workers_share_evenly() -> None:
    world = World(8, "abc")
    world.want(a=50)
    world.run()
    world.want(c=50)
    world.run()

    assert world.open() == {"a": 4, "b": 0, "c": 4}


def test_who_needs_little_gets_it_and_the_rest_goes_to_who_needs_more() -> None:
    world = World(10, "abc")
    world.want(a=2, b=50, c=3)
    world.run()

    assert world.open() == {"a": 2, "b": 5, "c": 3}


def test_nothing_is_lent_before_it_was_given_back() -> None:
    world = World(4, "ab")
    world.want(a=3, b=1)
    world.run()
    assert world.open() == {"a": 3, "b": 1}

    world.want(b=3)
    world.pools["b"].report(world.shares, "b")
    world.settle()
    # The limit of a was lowered, but its script still runs.
    world.pools["a"].receive()
    world.pools["a"].report(world.shares, "a")
    world.settle()
    assert world.shares.limit_of("b").limit == 1

    world.run()
    assert world.open() == {"a": 2, "b": 2}


def test_a_report_that_does_not_know_the_newest_limit_frees_nothing() -> None:
    shares = Shares(4)
    shares.add("a")
    shares.settle()
    number = shares.limit_of("a").number
    assert shares.counted == 4

    shares.report("a", number=number - 1, demand=0, held=0)

    assert shares.counted == 4


def test_with_one_connection_for_three_workers_everybody_gets_a_turn() -> None:
    world = World(1, "abc")
    world.want(a=5, b=5, c=5)
    served = dict.fromkeys("abc", 0)
    for _ in range(12):
        world.run(4)
        assert sum(world.open().values()) == 1
        for name, count in world.open().items():
            served[name] += count
        if world.shares.contested:
            world.shares.take_turns()

    assert min(served.values()) >= 3


def test_with_one_connection_the_only_one_in_need_gets_it() -> None:
    world = World(1, "abc")
    world.run()
    world.want(c=1)
    world.run()

    assert world.open() == {"a": 0, "b": 0, "c": 1}
    assert not world.shares.contested


def test_the_share_of_a_dead_worker_goes_to_the_others() -> None:
    world = World(4, "ab")
    world.want(a=9, b=9)
    world.run()
    world.kill("a")
    world.run()

    assert world.open() == {"b": 4}


def test_a_lowered_cap_is_kept_as_soon_as_scripts_have_ended() -> None:
    world = World(8, "ab")
    world.want(a=9, b=9)
    world.run()

    world.shares.cap = 2
    for grant in world.shares.settle():
        world.pools[grant.holder].mail.append(grant)
    for _ in range(6):
        for name, pool in world.pools.items():
            while pool.mail:
                pool.receive()
            pool.finish()
            pool.report(world.shares, name)
        for grant in world.shares.settle():
            world.pools[grant.holder].mail.append(grant)

    assert sum(world.open().values()) == 2
    assert world.shares.counted == 2


actions = st.tuples(
    st.sampled_from(["want", "receive", "work", "finish", "report", "turn", "kill", "start"]),
    st.sampled_from("abcd"),
    st.integers(0, 12),
)


def do(world: World, action: str, name: str, number: int) -> None:
    pool = world.pools.get(name)
    if action == "start" and pool is None:
        world.start(name)
    elif action == "turn":
        world.shares.take_turns()
        world.settle()
    elif action == "kill" and pool is not None:
        world.kill(name)
    elif action == "want" and pool is not None:
        pool.wanted = number
    elif action == "report" and pool is not None:
        pool.report(world.shares, name)
        world.settle()
    elif action in {"receive", "work", "finish"} and pool is not None:
        getattr(pool, action)()


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 10), st.lists(actions, max_size=120))
def test_the_cap_is_kept_and_found_whatever_comes_in_whatever_order(cap, steps) -> None:
    world = World(cap, "abc")
    for step in steps:
        do(world, *step)
        assert sum(world.open().values()) <= cap

    for pool in world.pools.values():
        pool.wanted = 0
    world.run()
    if world.pools:
        name = min(world.pools)
        world.pools[name].wanted = 100
        world.run(12)
        assert world.pools[name].open == cap
