"""Publish, subscribe, drop and resume in random orders: no gap, no duplicate, or the client knows.

Several workers share the books of one machine, but every call to them and everything they tell
takes a while: calls and news are carried out one step at a time in an order that a seed decides.
A client keeps its position, drops, comes back at any worker and resumes. Whatever it is handed
must be the next publication of the stream, unless it was told that something may be missing.
"""

import random
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any

import pytest

from gateway.brokers.books import Books
from gateway.brokers.posting import post_later
from gateway.channels.broker import (
    Abilities,
    ChannelRules,
    ChannelState,
    Member,
    Outcome,
    Page,
    Receipt,
    Receiver,
)
from gateway.channels.policy import ChannelPolicy, Policies
from gateway.channels.publication import Message, Position, Publication
from gateway.channels.publishing import Source
from gateway.channels.resume import Joined
from gateway.channels.service import ChannelService
from gateway.errors import SubscriberGoneError
from gateway.tasks import TaskSet

CHANNEL = "room.1"


@coroutine
def pause() -> Generator[None, None, None]:
    """Give others a turn."""
    yield


class SlowBroker:
    """Answers and news arrive late, but calls take effect in the order in which they were made."""

    abilities = Abilities(
        history=True,
        presence=True,
        explicit=True,
        listing=True,
        idempotency=True,
        exact_counts=True,
    )
    ready = True

    def __init__(self, node: str, world: "World") -> None:
        self.node = node
        self.news: deque[Callable[[Receiver], None]] = deque()
        self._world = world
        self._tasks = TaskSet()
        self._line: deque[object] = deque()

    async def _call(self, effect: Callable[[], Any]) -> Any:
        ticket = object()
        self._line.append(ticket)
        while self._line[0] is not ticket:
            await pause()
        for _ in range(self._world.random.randrange(3)):
            await pause()
        try:
            result = effect()
        finally:
            self._line.popleft()
        for _ in range(self._world.random.randrange(3)):
            await pause()
        return result

    async def start(self, receiver: Receiver) -> None:
        return

    async def stop(self) -> None:
        return

    async def publish(self, channel: str, message: Message, rules: ChannelRules) -> Receipt:
        def effect() -> Receipt:
            published = self._world.books.publish(channel, message, rules, 0.0)
            publication = published.publication
            if publication is not None:
                self._world.tell(published.nodes, lambda to: to.on_publication(publication))
            return published.receipt

        receipt: Receipt = await self._call(effect)
        return receipt

    def post(
        self,
        channel: str,
        message: Message,
        rules: ChannelRules,
        done: Callable[[Outcome], None],
    ) -> Receipt | None:
        post_later(self._tasks, self.publish(channel, message, rules), done)
        return None

    async def join(self, channel: str, member: Member, rules: ChannelRules) -> Position:
        def effect() -> Position:
            self._world.home[member.id] = self
            return self._world.books.join(channel, self.node, member, rules, 0.0).position

        position: Position = await self._call(effect)
        return position

    async def leave(self, channel: str, member: Member) -> None:
        await self._call(lambda: self._world.books.leave(channel, member.id, 0.0))

    async def history(
        self, channel: str, rules: ChannelRules, *, since: Position | None, limit: int | None
    ) -> Page:
        page: Page = await self._call(
            lambda: self._world.books.history(channel, rules, 0.0, since=since, limit=limit)
        )
        return page

    async def open(self, channel: str, rules: ChannelRules) -> bool:
        return self._world.books.open(channel, rules, 0.0)

    async def close(self, channel: str) -> bool:
        def effect() -> bool:
            nodes = self._world.books.close(channel, 0.0)
            for broker in self._world.brokers:
                if broker.node in (nodes or ()):
                    broker.news.append(broker.hear_of_closing)
            return nodes is not None

        closed: bool = await self._call(effect)
        return closed

    def hear_of_closing(self, receiver: Receiver) -> None:
        """Whoever has joined since then is out as well, as the receiver is about to think."""
        for member in self._world.books.presence(CHANNEL):
            if self._world.home[member.id] is self:
                self._world.books.leave(CHANNEL, member.id, 0.0)
        receiver.on_closed(CHANNEL)

    async def presence(self, channel: str) -> tuple[Member, ...]:
        return self._world.books.presence(channel)

    async def state(self, channel: str) -> ChannelState | None:
        return self._world.books.state(channel, 0.0)

    async def list(
        self, match: str, *, limit: int, after: str
    ) -> tuple[tuple[ChannelState, ...], str | None]:
        return self._world.books.list(match, 0.0, limit=limit, after=after)

    async def ask(self, node: str, question: bytes) -> bytes:
        return b""


class Connection:
    """One life of a client: a subscriber that hands on to it until it is dropped."""

    def __init__(self, client: "Client", name: str, service: ChannelService) -> None:
        self.id = name
        self.user = ""
        self.service = service
        self.joined = False
        self._client = client

    def deliver(self, publication: Publication) -> None:
        # The service goes on when a subscriber fails, so the failure is kept for the end.
        try:
            assert self._client.connection is self, "delivered after leaving"
            assert self.joined, "delivered before the join returned"
            self._client.take(publication)
        except AssertionError as error:
            self._client.failures.append(error)

    def on_join(self, channel: str, member: Member) -> None:
        return

    def on_leave(self, channel: str, member: Member) -> None:
        return

    def lane(self) -> None: ...

    def on_channel_closed(self, channel: str) -> None:
        assert self._client.connection is self
        self._client.hang_up()

    def on_gap(self, channel: str) -> None:
        assert self._client.connection is self
        self._client.uncertain = True
        self._client.consider_filling()


class Client:
    """Somebody who must never miss a publication without knowing it."""

    def __init__(self, name: str, world: "World") -> None:
        self.name = name
        self.connection: Connection | None = None
        self.position: Position | None = None
        self.uncertain = False
        self.resumed = self.refused = self.filled = 0
        self.failures: list[AssertionError] = []
        self._world = world
        self._lives = 0
        self._before_gap: Position | None = None
        self._after_gap: list[int] = []

    def take(self, publication: Publication) -> None:
        """Check that this is the next one."""
        position = publication.position
        assert self.position is not None
        if self.uncertain:
            self.uncertain = False
            self._before_gap, self._after_gap = self.position, []
            if position.epoch == self.position.epoch:
                assert position.offset > self.position.offset, "a duplicate after a gap"
        else:
            assert position.epoch == self.position.epoch, "a new life in silence"
            assert position.offset == self.position.offset + 1, "a gap or a duplicate"
        self._after_gap.append(position.offset)
        self.position = position

    def join(self) -> Coroutine[Any, Any, None]:
        """Come back, at any worker, where it stopped."""
        service = self._world.random.choice(self._world.services)
        self._lives += 1
        connection = Connection(self, f"{self.name}.{self._lives}", service)
        self.connection, self.uncertain = connection, False
        self._before_gap, self._after_gap = None, []
        return self._join(connection, self.position)

    async def _join(self, connection: Connection, since: Position | None) -> None:
        try:
            joined = await connection.service.join(connection, CHANNEL, since=since)
        except SubscriberGoneError:
            assert self.connection is not connection
            return
        assert self.connection is connection
        connection.joined = True
        self._resume(joined, since)

    def _resume(self, joined: Joined, since: Position | None) -> None:
        offsets = [each.position.offset for each in joined.publications]
        if since is None or not joined.recovered:
            if since is not None:
                self.refused += 1
                assert not offsets, "a part of what was missed"
            assert joined.recovered or since is not None or self._world.faults
            self.position = joined.position
            return
        self.resumed += 1
        assert joined.position.epoch == since.epoch
        assert offsets == list(range(since.offset + 1, joined.position.offset + 1))
        self.position = joined.position

    async def join_again(self) -> None:
        """Subscribe twice: harmless, nothing comes twice."""
        await self._rejoin(None)

    async def fill_gap(self) -> None:
        """Ask, on the live connection, for what a gap has cost."""
        await self._rejoin(self.position if self.uncertain else self._before_gap)

    def consider_filling(self) -> None:
        """Some clients ask at once for what a gap has cost."""
        if self._world.random.random() < 0.5:
            self._world.later(self.fill_gap())

    async def _rejoin(self, since: Position | None) -> None:
        connection = self.connection
        if connection is None or not connection.joined:
            return
        try:
            joined = await connection.service.join(connection, CHANNEL, since=since)
        except SubscriberGoneError:
            return
        if self.connection is not connection:
            return
        offsets = [each.position.offset for each in joined.publications]
        if self.uncertain:
            # Nothing has come since the gap: it begins anew where the answer says.
            self.uncertain, self._before_gap = False, None
            self._resume(joined, since)
        elif since is None or not joined.recovered:
            assert not offsets
        elif since is self._before_gap:
            assert offsets == list(range(since.offset + 1, self._after_gap[0]))
            self.filled += 1

    def hang_up(self) -> None:
        """The channel was closed under this client, so its connection is."""
        self._world.start(self.drop())

    def drop(self) -> Coroutine[Any, Any, None]:
        """Go away, perhaps while still joining."""
        connection, self.connection = self.connection, None
        assert connection is not None
        return connection.service.leave_all(connection)


class World:
    """Workers, clients, and a seed that decides whose turn it is."""

    def __init__(self, seed: int, *, faults: bool, size: int) -> None:
        self.random = random.Random(seed)
        self.faults = faults
        self.books = Books(new_epoch=lambda: f"{self.random.getrandbits(32):x}")
        self.rules = ChannelRules(history_size=size, history_ttl=60.0)
        policies = Policies([ChannelPolicy("*", self.rules)])
        self.brokers = [SlowBroker(f"node{n}", self) for n in range(self.random.randint(1, 3))]
        self.services = [ChannelService(broker, policies) for broker in self.brokers]
        self.clients = [Client(f"client{n}", self) for n in range(self.random.randint(1, 4))]
        self.published = 0
        self.home: dict[str, SlowBroker] = {}
        self._running: list[Coroutine[Any, Any, Any]] = []

    def tell(self, nodes: Any, news: Callable[[Receiver], None]) -> None:
        for broker in self.brokers:
            if broker.node in nodes:
                broker.news.append(news)

    def run(self, turns: int) -> None:
        self._finish(self.clients[0].join())
        for _ in range(turns):
            self._act()
            for _ in range(self.random.randrange(10)):
                self._step()
        self._settle()
        self._finish(self._publish())
        self._settle()
        self._check()

    def _act(self) -> None:
        client = self.random.choice(self.clients)
        dice = self.random.random()
        if dice < 0.45:
            self.start(self._publish())
        elif dice < 0.75:
            self.start(client.join() if client.connection is None else client.drop())
        elif dice < 0.82:
            self.start(client.join_again())
        elif self.faults:
            self._fault(client, dice)

    def _fault(self, client: Client, dice: float) -> None:
        if dice < 0.89:
            # The connection for news breaks: what was under way is lost.
            broker = self.random.choice(self.brokers)
            kept = [news for news in broker.news if news == broker.hear_of_closing]
            broker.news.clear()
            broker.news.extend(kept)
            broker.news.append(lambda to: to.on_gap(None))
        elif dice < 0.91:
            # The server has forgotten everything, and begins a new life.
            self.books.history(CHANNEL, ChannelRules(), 0.0)
        elif dice < 0.93:
            self.start(self.brokers[0].close(CHANNEL))
        else:
            self.start(client.fill_gap())

    async def _publish(self) -> None:
        self.published += 1
        service = self.random.choice(self.services)
        await service.publish(CHANNEL, Message(b"%d" % self.published), source=Source.API)

    def _step(self) -> None:
        choices = len(self._running) + len(self.brokers)
        chosen = self.random.randrange(choices)
        if chosen < len(self._running):
            work = self._running[chosen]
            try:
                work.send(None)
            except StopIteration:
                self._running.remove(work)
            return
        broker = self.brokers[chosen - len(self._running)]
        if broker.news:
            broker.news.popleft()(self.services[self.brokers.index(broker)])

    def _finish(self, work: Coroutine[Any, Any, Any]) -> None:
        self.start(work)
        self._settle()

    def later(self, work: Coroutine[Any, Any, Any]) -> None:
        """Begin the work at some other turn."""
        self._running.append(work)

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run the work to its first pause, as the event loop does with what is awaited."""
        try:
            work.send(None)
        except StopIteration:
            return
        self._running.append(work)

    def _settle(self) -> None:
        while self._running or any(broker.news for broker in self.brokers):
            self._step()

    def _check(self) -> None:
        for client in self.clients:
            for failure in client.failures:
                raise failure
        connected = [client for client in self.clients if client.connection is not None]
        end = self.books.history(CHANNEL, self.rules, 0.0).position
        for client in connected:
            assert client.uncertain or client.position == end, "the end was missed"
        members = {member.id for member in self.books.presence(CHANNEL)}
        assert members == {client.connection.id for client in connected if client.connection}
        assert sum(service.subscriptions for service in self.services) == len(connected)


@pytest.mark.parametrize("chunk", range(10))
def test_a_client_that_comes_back_misses_nothing(chunk: int) -> None:
    """History is long enough and nothing breaks: every resume is whole, in 5,000 orders."""
    resumed = 0
    for seed in range(chunk * 500, (chunk + 1) * 500):
        world = World(seed, faults=False, size=1000)
        try:
            world.run(turns=40)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        assert not any(client.refused for client in world.clients), seed
        resumed += sum(client.resumed for client in world.clients)
    assert resumed > 300


@pytest.mark.parametrize("chunk", range(10))
def test_a_client_that_cannot_get_everything_is_told(chunk: int) -> None:
    """Short history, lost news, new lives, closed channels: never a part, in 5,000 orders."""
    resumed = refused = filled = 0
    for seed in range(chunk * 500, (chunk + 1) * 500):
        world = World(seed, faults=True, size=4)
        try:
            world.run(turns=40)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        resumed += sum(client.resumed for client in world.clients)
        refused += sum(client.refused for client in world.clients)
        filled += sum(client.filled for client in world.clients)
    assert min(resumed, refused) > 50
    assert filled > 5
