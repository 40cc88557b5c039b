"""Statements that are run because somebody came or went, while no message waits for an answer.

Thousands may come or go at once, and the database shall see no more of it than a few connections:
so errands wait here, by database, in the order in which they were given. Two of one lane (the same
connection in the same channel) are never under way together and never change places: what a coming
has written is there when its going deletes it. Past the limit they are refused.
"""

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from gateway.config.statements import Statement
from gateway.errors import (
    DatabaseUnavailableError,
    GatewayError,
    QueryError,
    TooManyQueriesError,
)

from .queries import Database, Databases, QueryTimeoutError, rows_of

log: Final = structlog.get_logger()

LIMIT: Final = 100_000
"""Errands that wait for one database. Each holds some 600 bytes, a small part of what the
connection held that it is about; so the limit is above what a worker can lose at once."""


@dataclass(frozen=True, slots=True)
class EventQuery:
    """A statement, and the name of the database that runs it."""

    database: str
    statement: Statement


@dataclass(slots=True, eq=False)
class Errand:
    """One statement to be run.

    `on_end` is called from the event loop, never at once: with the rows, or with the error; not at
    all for what has not been begun when the gateway ends. Where somebody has `awaited` it for the
    database's timeout and it has not been begun, it will not be.
    """

    query: EventQuery
    values: tuple[str | None, ...]
    lane: tuple[str, str]
    on_end: Callable[[bytes | GatewayError], None]
    awaited: bool = False
    expiry: asyncio.TimerHandle | None = field(default=None, init=False)


class _Line:
    """The errands for one database."""

    __slots__ = ("lanes", "size", "waiting")

    def __init__(self) -> None:
        self.waiting: OrderedDict[Errand, None] = OrderedDict()
        self.lanes: dict[tuple[str, str], deque[Errand]] = {}
        """The lanes that have an errand under way, and what waits for its end."""
        self.size = 0
        """Errands that wait, here or there."""


class Errands:
    """The errands of a worker; they outlive a reload, which replaces `databases`."""

    def __init__(self, databases: Databases, limit: int = LIMIT) -> None:
        self.databases = databases
        self._limit = limit
        self._lines: dict[str, _Line] = {}
        self._closed = False
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return sum(line.size + len(line.lanes) for line in self._lines.values())

    def submit(self, errand: Errand) -> None:
        """Run it when its turn comes."""
        if self._closed:
            return
        name = errand.query.database
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = _Line()
        loop = asyncio.get_running_loop()
        if line.size >= self._limit:
            loop.call_soon(errand.on_end, TooManyQueriesError(self._limit))
            return
        line.waiting[errand] = None
        line.size += 1
        self._empty.clear()
        database = self.databases.get(name)
        if errand.awaited and database is not None:
            errand.expiry = loop.call_later(database.timeout, self._expire, line, errand)
        self._go_on(name, line)

    async def drained(self, within: float) -> None:
        """Wait until all have been run, at most `within` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._empty.wait()

    def close(self) -> None:
        """Begin nothing more; how many are left is said in the log. Idempotent."""
        self._closed = True
        if left := sum(line.size for line in self._lines.values()):
            log.warning("channel queries not run", count=left)
        self._lines.clear()
        self._empty.set()

    def _go_on(self, name: str, line: _Line) -> None:
        database = self.databases.get(name)
        # Messages that a query answers use the same connections: one is left to them.
        most = 1 if database is None else max(1, database.max_connections - 1)
        while line.waiting and len(line.lanes) < most:
            errand, _ = line.waiting.popitem(last=False)
            behind = line.lanes.get(errand.lane)
            if behind is None:
                line.lanes[errand.lane] = deque()
                self._begin(line, errand)
            else:
                behind.append(errand)
        if not line.lanes:
            del self._lines[name]
            if not self._lines:
                self._empty.set()

    def _begin(self, line: _Line, errand: Errand) -> None:
        line.size -= 1
        if errand.expiry is not None:
            errand.expiry.cancel()
        self.databases.tasks.spawn(self._run(line, errand), name="channel query")

    def _expire(self, line: _Line, errand: Errand) -> None:
        if self._closed:
            return
        if errand in line.waiting:
            del line.waiting[errand]
        else:
            line.lanes[errand.lane].remove(errand)
        line.size -= 1
        errand.on_end(QueryTimeoutError("the database did not come to it in time"))

    async def _run(self, line: _Line, errand: Errand) -> None:
        database = self.databases.get(errand.query.database)
        outcome: bytes | GatewayError = QueryError("the gateway ends", "")
        try:
            try:
                outcome = await _outcome(database, errand)
            finally:
                errand.on_end(outcome)
            if database is not None and isinstance(outcome, QueryTimeoutError):
                # What it writes must be there before the next of its lane looks for it.
                await database.settled()
        finally:
            self._ended(line, errand)

    def _ended(self, line: _Line, errand: Errand) -> None:
        if self._closed:
            return
        behind = line.lanes[errand.lane]
        if behind:
            self._begin(line, behind.popleft())
            return
        del line.lanes[errand.lane]
        self._go_on(errand.query.database, line)


async def _outcome(database: Database | None, errand: Errand) -> bytes | GatewayError:
    if database is None:
        return DatabaseUnavailableError("a reload has taken the database away")
    try:
        return await rows_of(database, errand.query.statement.text, errand.values)
    except GatewayError as exc:
        return exc
    except Exception as exc:
        log.exception("channel query failed")
        return QueryError(type(exc).__name__, "")
