"""A message that a query answers instead of PHP.

The rows go back as JSON through the same turns as PHP's replies. Fields of the frame are bound as
parameters, so no frame can change what is executed. The database is handed in; nothing here knows
how it is reached.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
import structlog

from fastcgi import FastCGIError, Response
from gateway.config.statements import Statement
from gateway.errors import GatewayError, MessageError, QueryError, ReplyError
from gateway.logs import Throttle
from gateway.tasks import TaskSet

from .caching import ReplyCache

log: Final = structlog.get_logger()

MAX_ROWS: Final = 8 * 1024 * 1024
"""Bytes of rows in one reply."""

_HEADERS: Final = (("content-type", "application/json"),)
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class Database(Protocol):
    """Where statements are executed, at most `max_connections` at a time, each within `timeout`."""

    max_connections: int
    timeout: float

    async def rows(self, statement: str, values: Sequence[Any]) -> bytes:
        """The rows as a JSON list; GatewayError or TimeoutError when there are none."""

    async def settled(self) -> None:
        """Wait, for seconds at most, until what was given up has ended in the database."""

    async def close(self) -> None:
        """End every connection."""


class QueryAsker(Protocol):
    """Whoever asked; called from the event loop, exactly once for each inquiry."""

    @property
    def id(self) -> str:
        """The connection that the question is about, for the log."""

    def on_answer(self, invocation: "Inquiry", response: Response) -> None:
        """The rows are there."""

    def on_no_answer(self, invocation: "Inquiry", error: FastCGIError | GatewayError) -> None:
        """There are none, and will be none."""


class Inquiry:
    """One message on its way to the database; as `invocation.Invocation` is for PHP."""

    __slots__ = ("answer", "asker", "body", "message_id", "tag", "target")

    def __init__(
        self,
        target: "QueryTarget",
        body: bytes,
        asker: QueryAsker,
        *,
        message_id: int = 0,
        tag: object = None,
    ) -> None:
        self.target = target
        self.body = body
        self.asker = asker
        self.message_id = message_id
        self.tag = tag
        self.answer: Response | FastCGIError | GatewayError | None = None


class QueryTimeoutError(GatewayError, TimeoutError):
    """The rows did not come in time."""


class QueryTarget:
    """One statement, as a rule of a route uses it."""

    __slots__ = (
        "_database",
        "_failures",
        "_statement",
        "_tasks",
        "block",
        "cache",
        "route",
        "rule",
    )

    def __init__(
        self, databases: "Databases", name: str, statement: Statement, *, route: str, rule: str
    ) -> None:
        self._database = databases[name]
        self._tasks = databases.tasks
        self._statement = statement
        self._failures = Throttle()
        self.cache: ReplyCache | None = None
        self.route = route
        self.rule = rule
        self.block = msgspec.json.encode(["query", name, statement.text])
        """What its answers depend on, besides the message."""

    def submit(self, inquiry: Inquiry, _key: str = "") -> None:
        """Ask the database; the answer never comes at once."""
        self._tasks.spawn(self._ask(inquiry), name="query")

    async def _ask(self, inquiry: Inquiry) -> None:
        try:
            values = _values(self._statement.fields, inquiry.body)
            rows = await rows_of(self._database, self._statement.text, values)
        except GatewayError as exc:
            error = exc
        except Exception as exc:  # whatever it is, the message gets its error frame
            log.exception("query failed", route=self.route, rule=self.rule)
            error = QueryError(f"{type(exc).__name__}", "")
        except asyncio.CancelledError:
            inquiry.asker.on_no_answer(inquiry, QueryError("the gateway ends", ""))
            raise
        else:
            inquiry.asker.on_answer(inquiry, Response(200, _HEADERS, rows))
            return
        if not isinstance(error, MessageError) and self._failures.allows():
            log.warning(
                "query failed",
                route=self.route,
                rule=self.rule,
                connection=inquiry.asker.id,
                error=str(error),
                **self._failures.taken(),
            )
        inquiry.asker.on_no_answer(inquiry, error)


async def rows_of(database: Database, statement: str, values: Sequence[Any]) -> bytes:
    """As `Database.rows`; whatever is foreseen to go wrong is a GatewayError."""
    try:
        rows = await database.rows(statement, values)
    except TimeoutError as exc:
        raise QueryTimeoutError("the database did not answer in time") from exc
    if len(rows) > MAX_ROWS:
        raise ReplyError(f"the rows have {len(rows)} bytes, limit {MAX_ROWS}")
    return rows


def _values(fields: Sequence[str], body: bytes) -> list[Any]:
    """What the frame has for the fields; null is NULL, and a field that is missing a mistake."""
    if not fields:
        return []
    try:
        found = _decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as exc:
        raise MessageError("the message is not a JSON object") from exc
    missing = [field for field in fields if field not in found]
    if missing:
        raise MessageError(f"the message has no {', '.join(missing)}")
    return [found[field] for field in fields]


class Databases:
    """The databases of a configuration, by name."""

    def __init__(self, databases: Mapping[str, Database]) -> None:
        self._databases = databases
        self.tasks = TaskSet()

    def __getitem__(self, name: str) -> Database:
        return self._databases[name]

    def get(self, name: str) -> Database | None:
        """The database of that name, if there is one."""
        return self._databases.get(name)

    async def close(self, within: float) -> None:
        """Let what is running end, at most `within` seconds, then end every connection."""
        await self.tasks.join(within)
        await self.tasks.close()
        for database in self._databases.values():
            await database.close()
