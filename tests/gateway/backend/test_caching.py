"""What is kept, what is shared, and what is the same question."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from fastcgi import FastCGIError, QueueFullError, Response
from gateway.backend.caching import ReplyCache
from gateway.backend.stores import Guarded
from gateway.cache.memory import MemoryStore
from gateway.clock import ManualClock
from gateway.config.routes import Cache
from gateway.metrics import Metrics

JSON = (("content-type", "application/json"),)
OK = Response(200, JSON, b"[1]")


@dataclass
class Asker:
    id: str = "one"
    answers: list[Any] = field(default_factory=list)

    def on_answer(self, question: Any, response: Response) -> None:
        self.answers.append(response)

    def on_no_answer(self, question: Any, error: FastCGIError) -> None:
        self.answers.append(error)


@dataclass
class Target:
    submitted: list[Any] = field(default_factory=list)

    def submit(self, question: Any, key: str = "") -> None:
        self.submitted.append(question)


@dataclass
class Question:
    body: bytes
    asker: Any
    target: Target


@dataclass
class Subject:
    user: str = ""
    path: str = "/ws"
    serial_key: str = ""


class House:
    """A cache, its target, and what is counted."""

    def __init__(self, store: Any = None, **settings: Any) -> None:
        self.clock = ManualClock()
        self.metrics = Metrics("test")
        self.target = Target()
        self.store = store or MemoryStore(clock=self.clock.monotonic)
        chosen = Cache.model_validate({"ttl": "5s", **settings})
        self.cache = ReplyCache(
            chosen, self.store, self.metrics, base=b"block", wall=self.clock.wall
        )

    def ask(self, body: bytes = b"q", *, text: bool = True, **subject: str) -> Asker:
        asker = Asker()
        question = Question(body, asker, self.target)
        if not self.cache.take(question, Subject(**subject), text=text):
            self.target.submit(question)
        return asker

    def answer(self, response: Response = OK) -> None:
        question = self.target.submitted.pop(0)
        question.asker.on_answer(question, response)

    @property
    def counts(self) -> dict[str, int]:
        rows = self.metrics.export()["wsgate_cache_requests_total"]
        return {labels[0]: value for labels, value in rows if value}


async def test_a_second_question_is_answered_without_php() -> None:
    house = House()
    first = house.ask()
    house.answer()
    second = house.ask()
    assert second.answers == []
    await asyncio.sleep(0)
    assert first.answers == second.answers == [OK]
    assert house.target.submitted == []
    assert house.counts == {"miss": 1, "hit": 1}


async def test_when_its_time_is_over_php_is_asked_again() -> None:
    house = House()
    house.ask()
    house.answer()
    house.clock.advance(5)
    house.ask()
    assert len(house.target.submitted) == 1


async def test_the_same_question_at_the_same_time_is_asked_once() -> None:
    house = House()
    askers = [house.ask() for _ in range(100)]
    assert len(house.target.submitted) == 1
    house.answer()
    assert all(asker.answers == [OK] for asker in askers)
    assert house.counts == {"miss": 1, "coalesced": 99}


@pytest.mark.parametrize(
    "response",
    [
        Response(200, (*JSON, ("set-cookie", "PHPSESSID=secret")), b"mine"),
        Response(200, (*JSON, ("ws-subscribe", "room.1")), b"mine"),
        Response(200, (*JSON, ("ws-publish", "room.1")), b"mine"),
        Response(200, (*JSON, ("ws-close", "4001 bye")), b"mine"),
        Response(200, (*JSON, ("ws-close", "no code")), b"mine"),
        Response(200, (("content-type", "application/vnd.wsgate+json"),), b"[]"),
        Response(500, (("set-cookie", "PHPSESSID=secret"),), b""),
    ],
)
async def test_an_answer_for_one_connection_reaches_no_other_and_is_not_kept(response) -> None:
    house = House()
    askers = [house.ask() for _ in range(3)]
    house.answer(response)
    assert [asker.answers for asker in askers] == [[response], [], []]
    assert len(house.target.submitted) == 2
    house.answer(response)
    house.answer(response)
    assert all(asker.answers == [response] for asker in askers)
    house.ask()
    assert len(house.target.submitted) == 1


@pytest.mark.parametrize("status", [404, 500, 302])
async def test_a_failure_is_shared_but_not_kept(status) -> None:
    house = House()
    askers = [house.ask(), house.ask()]
    failure = Response(status, JSON, b"")
    house.answer(failure)
    assert all(asker.answers == [failure] for asker in askers)
    house.ask()
    assert len(house.target.submitted) == 1


async def test_without_an_answer_everybody_who_waits_hears_why() -> None:
    house = House()
    askers = [house.ask(), house.ask()]
    question = house.target.submitted.pop()
    error = QueueFullError(1, 1)
    question.asker.on_no_answer(question, error)
    assert all(asker.answers == [error] for asker in askers)
    house.ask()
    assert len(house.target.submitted) == 1


async def different(house: House, *questions: dict[str, Any]) -> bool:
    for question in questions:
        house.ask(**question)
    return len(house.target.submitted) == len(questions)


async def test_what_the_key_names_makes_a_question_another_one() -> None:
    assert await different(House(), {"body": b"1"}, {"body": b"2"}, {"body": b"1", "text": False})
    assert not await different(House(), {"user": "a"}, {"user": "b", "path": "/x"})
    assert await different(House(key="body+user"), {"user": "a"}, {"user": "b"}, {})
    assert await different(House(key="body+path"), {"path": "/a"}, {"path": "/b"})
    assert await different(
        House(key="body+user"), {"body": b"ab", "user": "c"}, {"body": b"a", "user": "bc"}
    )


async def test_fields_are_compared_by_value_and_the_others_do_not_count() -> None:
    house = House(key=["id", "what"])
    house.ask(b'{"id":1,"what":{"a":1,"b":[2]},"at":1}')
    house.ask(b'{ "at": 2, "what": {"b": [2], "a": 1}, "id": 1 }')
    assert len(house.target.submitted) == 1
    for body in (b'{"id":1}', b'{"id":1,"what":null}', b'{"id":"1","what":{"a":1,"b":[2]}}'):
        house.ask(body)
    assert len(house.target.submitted) == 4


@pytest.mark.parametrize("body", [b"", b"no json", b"[1]", b"[" * 10_000, b"\xff"])
async def test_a_message_without_fields_goes_to_php(body) -> None:
    house = House(key=["id"])
    house.ask(body)
    house.ask(body)
    assert len(house.target.submitted) == 2
    assert house.counts == {}


class Elsewhere:
    """A remote store in a dictionary, which may be away or silent."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.error: Exception | None = None
        self.silent = False
        self.asked = 0

    async def get(self, key: bytes) -> bytes | None:
        self.asked += 1
        if self.silent:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        return self.kept.get(key)

    async def put(self, key: bytes, value: bytes, ttl: float) -> None:
        if self.error:
            raise self.error
        self.kept[key] = value

    async def close(self) -> None: ...


@pytest.fixture
async def elsewhere():
    store = Elsewhere()
    clock = ManualClock()
    guarded = Guarded(store, clock.monotonic)
    yield store, guarded, clock
    await guarded.close()


async def test_a_remote_store_is_shared_by_everybody_who_asks_the_same(elsewhere) -> None:
    _, guarded, _ = elsewhere
    one, other = House(guarded), House(guarded)
    one.ask()
    await guarded.tasks.join(1)
    one.answer()
    await guarded.tasks.join(1)
    asker = other.ask()
    follower = other.ask()
    await guarded.tasks.join(1)
    assert asker.answers == follower.answers == [OK]
    assert other.target.submitted == []
    assert other.counts == {"hit": 1, "coalesced": 1}


async def test_a_remote_reply_is_good_only_for_its_own_time(elsewhere) -> None:
    _, guarded, _ = elsewhere
    house = House(guarded)
    house.ask()
    await guarded.tasks.join(1)
    house.answer()
    await guarded.tasks.join(1)
    house.clock.advance(5)
    house.ask()
    await guarded.tasks.join(1)
    assert len(house.target.submitted) == 1


async def test_a_store_that_is_away_is_a_miss_and_left_alone_for_a_moment(elsewhere) -> None:
    store, guarded, clock = elsewhere
    store.error = OSError("away")
    house = House(guarded)
    for _ in range(2):
        house.ask()
        await guarded.tasks.join(1)
        house.answer()
    assert store.asked == 1
    assert house.counts == {"miss": 2}
    clock.advance(1)
    store.error = None
    house.ask()
    await guarded.tasks.join(1)
    assert store.asked == 2


async def test_a_store_that_is_silent_is_a_miss_after_its_deadline(elsewhere) -> None:
    store, guarded, _ = elsewhere
    store.silent = True
    house = House(guarded)
    house.ask()
    await guarded.tasks.join(5)
    assert len(house.target.submitted) == 1


@pytest.mark.parametrize("value", [b"", b"junk", b"\x80\x04.", b"\xff" * 100])
async def test_what_others_wrote_to_the_store_is_a_miss(elsewhere, value) -> None:
    store, guarded, _ = elsewhere
    house = House(guarded)
    house.ask()
    await guarded.tasks.join(1)
    house.answer()
    await guarded.tasks.join(1)
    (key,) = store.kept
    store.kept[key] = value
    house.ask()
    await guarded.tasks.join(1)
    assert len(house.target.submitted) == 1
