"""Queries that wait in line for a database: how many, in which order, and what is shed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.backend.errands import Errand, Errands, EventQuery
from gateway.backend.queries import MAX_ROWS, Databases
from gateway.codes import failure_of
from gateway.config.statements import Statement
from gateway.errors import DatabaseUnavailableError, GatewayError, MessageError
from tests.fakes import FakeDatabase

Outcome = bytes | GatewayError


class Line:
    """Errands for one fake database, and what became of them."""

    def __init__(self, database: FakeDatabase, limit: int = 100) -> None:
        self.database = database
        self.errands = Errands(Databases({"main": database}), limit)
        self.ended: list[tuple[str, Outcome]] = []

    async def give(self, *words: str, lane: str = "", awaited: bool = False) -> None:
        for word in words:
            query = EventQuery("main", Statement(word, ()))

            def on_end(outcome: Outcome, word: str = word) -> None:
                self.ended.append((word, outcome))

            self.errands.submit(Errand(query, (word,), (lane or word, "a"), on_end, awaited))
        await asyncio.sleep(0)

    @property
    def under_way(self) -> list[str]:
        return [statement for statement, _ in self.database.asked]

    @property
    def words(self) -> list[str]:
        return [word for word, _ in self.ended]


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., Line]]:
    lines: list[Line] = []

    def build(limit: int = 100, **database: Any) -> Line:
        lines.append(Line(FakeDatabase(**database), limit))
        return lines[-1]

    yield build
    for line in lines:
        line.errands.close()
        await line.errands.databases.tasks.close()


async def test_one_connection_is_left_to_the_messages(make) -> None:
    line = make(max_connections=3)
    await line.give("one", "two", "three", "four")
    assert line.under_way == ["one", "two"]

    await line.database.answer(b"[1]", place=1)
    assert line.under_way == ["one", "three"]
    assert line.ended == [("two", b"[1]")]


async def test_the_only_connection_there_is_serves_both(make) -> None:
    line = make(max_connections=1)
    await line.give("one", "two")
    assert line.under_way == ["one"]


async def test_those_of_one_lane_follow_each_other_while_others_overtake_them(make) -> None:
    line = make(max_connections=4)
    await line.give("came", "went", "came again", lane="x")
    await line.give("other")
    assert line.under_way == ["came", "other"]

    await line.database.answer()
    assert line.under_way == ["other", "went"]
    await line.database.answer(DatabaseUnavailableError("away"), place=1)
    assert line.under_way == ["other", "came again"]
    await line.database.answer(place=1)
    assert line.words == ["came", "went", "came again"]


async def test_past_the_limit_one_is_refused_by_name_but_never_at_once(make) -> None:
    line = make(limit=2, max_connections=1)
    await line.give("one", "two")
    query = EventQuery("main", Statement("late", ()))
    line.errands.submit(Errand(query, (), ("three", "a"), lambda _: None))
    line.errands.submit(
        Errand(query, (), ("x", "a"), lambda error: line.ended.append(("x", error)))
    )
    assert line.ended == []

    await asyncio.sleep(0)
    ((_, error),) = line.ended
    assert failure_of(error).type == "queue_full"
    assert len(line.errands) == 3


async def test_one_that_somebody_waits_for_is_given_up_when_its_time_is_over(make) -> None:
    line = make(max_connections=3, timeout=0.02)
    await line.give("stuck")
    await line.give("behind it", lane="stuck", awaited=True)
    await line.give("another", "went")
    await line.give("snapshot", awaited=True)
    async with asyncio.timeout(5):
        while len(line.ended) < 2:  # noqa: ASYNC110 - the loop's own timer
            await asyncio.sleep(0.005)
    assert sorted(line.words) == ["behind it", "snapshot"]
    assert {failure_of(error).status for _, error in line.ended} == {504}

    await line.database.answer()
    assert line.under_way == ["another", "went"]
    assert len(line.errands) == 2


async def test_a_going_waits_for_the_database_however_long_that_takes(make) -> None:
    line = make(max_connections=2, timeout=0.01)
    await line.give("stuck", "went")
    await asyncio.sleep(0.05)
    await line.database.answer()
    assert line.under_way == ["went"]


async def test_what_goes_wrong_is_handed_on_and_the_line_goes_on(make) -> None:
    line = make(max_connections=2)
    await line.give("a", "b", "c", "d", "e")
    await line.database.answer(MessageError("a constraint"))
    await line.database.answer(TimeoutError())
    await line.database.answer(KeyError("ours"))
    await line.database.answer(b"x" * (MAX_ROWS + 1))
    await line.database.answer(b"[]")
    statuses = [failure_of(error).status for _, error in line.ended if isinstance(error, Exception)]
    assert statuses == [400, 504, 502, 502]
    assert line.ended[-1] == ("e", b"[]")


async def test_after_a_reload_what_waits_is_run_by_the_new_database_of_its_name(make) -> None:
    line = make(max_connections=2)
    await line.give("one", "two")
    after = FakeDatabase()
    line.errands.databases = Databases({"main": after})
    await line.database.answer()
    assert [statement for statement, _ in after.asked] == ["two"]
    await after.answer()
    await line.errands.databases.tasks.close()


async def test_what_waits_for_a_database_that_a_reload_took_away_fails(make) -> None:
    line = make(max_connections=2)
    await line.give("one", "two", "three")
    line.errands.databases = Databases({})
    await line.database.answer()
    await line.errands.drained(5)
    assert [failure_of(error).status for _, error in line.ended[1:]] == [503, 503]
    assert len(line.errands) == 0


async def test_at_the_end_all_are_waited_for_but_only_so_long(make) -> None:
    line = make(max_connections=2)
    await line.errands.drained(0)
    await line.give("one", "two")
    await line.errands.drained(0.01)
    assert len(line.errands) == 2
    draining = asyncio.ensure_future(line.errands.drained(5))
    await line.database.answer()
    assert not draining.done()
    await line.database.answer()
    await draining
    assert line.words == ["one", "two"]


async def test_how_many_are_left_when_it_is_closed_is_said_and_nothing_more_begins(make) -> None:
    line = make(max_connections=2)
    await line.give("one", "two", "three")
    with capture_logs() as logged:
        line.errands.close()
        line.errands.close()
    assert [(each["event"], each["count"]) for each in logged] == [("channel queries not run", 2)]
    await line.database.answer()
    await line.give("four")
    assert line.under_way == []


async def test_one_that_is_broken_off_fails_so_that_nobody_waits_for_it(make) -> None:
    line = make(max_connections=3)
    await line.give("one", "two", "three")
    before, line.errands.databases = line.errands.databases, Databases({"main": FakeDatabase()})
    await before.tasks.close()
    assert [failure_of(error).status for _, error in line.ended] == [502, 502]
    assert len(line.errands) == 1
