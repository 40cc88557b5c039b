"""PostgreSQL: the one module that knows asyncpg.

A `Listener` is one connection that hears NOTIFY; a `Database` is a pool of connections for
queries. Both raise the errors of `gateway.errors` and nothing of asyncpg's. No error says what a
query was or where the server is.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

from gateway.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    MessageError,
    QueryError,
)
from gateway.tasks import TaskSet

try:
    import asyncpg
except ImportError as exc:  # pragma: no cover - an installation without the extra
    raise ConfigurationError("PostgreSQL needs the extra: pip install 'wsgate[postgres]'") from exc

_CONNECT_TIMEOUT: Final = 5.0
_CLOSE_TIMEOUT: Final = 2.0
_RELEASE_TIMEOUT: Final = 5.0
MAX_NAME: Final = 63
"""Bytes of a NOTIFY channel; LISTEN cuts longer names, and would then hear another channel."""


class Listener:
    """One connection that listens; one command at a time. When it is lost, `lost` is set."""

    def __init__(self, connection: Any, on_notify: Callable[[str, str], None]) -> None:
        self._connection = connection
        self._on_notify = on_notify
        self.lost = asyncio.Event()
        connection.add_termination_listener(lambda _: self.lost.set())

    @classmethod
    async def connect(cls, dsn: str, on_notify: Callable[[str, str], None]) -> "Listener":
        """Connect; `on_notify(name, payload)` is called from the event loop."""
        with _translated():
            connection = await asyncpg.connect(
                dsn, timeout=_CONNECT_TIMEOUT, server_settings={"application_name": "wsgate"}
            )
        return cls(connection, on_notify)

    async def listen(self, name: str, within: float) -> None:
        """Hear this name; MessageError when the server cannot have such a name."""
        with _translated():
            async with asyncio.timeout(within):
                # asyncpg quotes the name as an identifier.
                await self._connection.add_listener(name, self._heard)

    async def unlisten(self, name: str, within: float) -> None:
        """Hear it no longer."""
        with _translated():
            async with asyncio.timeout(within):
                await self._connection.remove_listener(name, self._heard)

    async def ping(self, within: float) -> None:
        """Ask for a sign of life."""
        with _translated():
            async with asyncio.timeout(within):
                await self._connection.fetchval("select 1")

    def drop(self) -> None:
        """Give the connection up at once."""
        self._connection.terminate()

    def _heard(self, _connection: Any, _pid: int, name: str, payload: object) -> None:
        self._on_notify(name, str(payload))


class Database:
    """A pool of connections for queries; connects when it is first asked.

    `bouncer` says that the address may lead to another server connection with every transaction,
    so that nothing may be prepared there.
    """

    def __init__(
        self, dsn: str, *, max_connections: int, timeout: float, bouncer: bool = False
    ) -> None:
        self.max_connections = max_connections
        self.timeout = timeout
        self._opening = asyncio.Lock()
        self._tasks = TaskSet()
        with _translated():
            self._pool = asyncpg.create_pool(
                dsn,
                min_size=0,
                max_size=max_connections,
                timeout=min(_CONNECT_TIMEOUT, timeout),
                init=_prepare,
                statement_cache_size=0 if bouncer else 100,
                server_settings={"application_name": "wsgate", "datestyle": "ISO"},
            )
        self._opened = False

    async def rows(self, statement: str, values: Sequence[Any]) -> bytes:
        """The rows of a statement as a JSON list of objects.

        Raises MessageError when a value is none of its parameter's type, QueryError when the
        server refuses the statement, DatabaseUnavailableError, and TimeoutError after the
        pool's timeout; waiting for a connection counts.
        """
        with _translated():
            async with asyncio.timeout(self.timeout), self._connection() as connection:
                records = await connection.fetch(statement, *values)
        return _as_json(records)

    async def ask(self) -> None:
        """Return when the server answers; the errors are those of `rows`."""
        await self.rows("select 1", ())

    async def check(self, statement: str) -> None:
        """Return when the server accepts the statement, without executing it.

        The errors are those of `rows`, but for MessageError: with nothing bound to it, the
        statement alone is to blame.
        """
        try:
            with _translated():
                async with asyncio.timeout(self.timeout), self._connection() as connection:
                    await connection.prepare(statement)
        except MessageError as exc:
            cause = exc.__cause__
            raise QueryError(str(cause), getattr(cause, "sqlstate", None) or "") from cause

    async def settled(self) -> None:
        """Wait, for seconds at most, until what was given up has ended on the server."""
        await self._tasks.join(_RELEASE_TIMEOUT)

    async def close(self) -> None:
        """End every connection. Idempotent."""
        await self._tasks.join(_CLOSE_TIMEOUT)
        await self._tasks.close()
        if self._opened:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    await self._pool.close()
            self._pool.terminate()
            self._opened = False

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        if not self._opened:
            async with self._opening:
                if not self._opened:
                    await self._pool
                    self._opened = True
        connection = await self._pool.acquire()
        try:
            yield connection
        finally:
            # What was interrupted is cancelled on the server first; nobody waits for that.
            release = self._pool.release(connection, timeout=_RELEASE_TIMEOUT)
            self._tasks.spawn(_quietly(release), name="giving a connection back")


async def _quietly(release: Any) -> None:
    """A connection that cannot be given back is closed by the pool, which then tells us so."""
    with contextlib.suppress(Exception):
        await release


async def _prepare(connection: Any) -> None:
    """Take JSON values for parameters of these types, and give JSON values for their results."""
    for name, encode, decode in _CODECS:
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=encode, decoder=decode, format="text"
        )


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("expected text or a number")  # noqa: TRY004 - asyncpg reports it as bad data
    return str(value)


def _moment(value: str) -> str:
    """ISO 8601 out of ISO dates as PostgreSQL writes them: `2026-01-31 12:00:00.5+00`."""
    day, space, time = value.partition(" ")
    if not space or "BC" in value:
        return value
    zone = max(time.rfind("+"), time.rfind("-"))
    whole = time if zone < 0 or ":" in time[zone:] else f"{time}:00"
    return f"{day}T{whole}"


def _number(value: str) -> Any:
    """A number of any length and precision as it is; JSON has no NaN and no infinity."""
    return msgspec.Raw(value.encode()) if value.strip("-")[:1].isdigit() else value


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


_CODECS: Final[tuple[tuple[str, Callable[[Any], str], Callable[[str], Any]], ...]] = (
    ("timestamptz", _text, _moment),
    ("timestamp", _text, _moment),
    ("date", _text, str),
    ("time", _text, str),
    ("timetz", _text, str),
    ("interval", _text, str),
    ("numeric", _text, _number),
    ("json", _json, _raw),
    ("jsonb", _json, _raw),
)


def _as_json(records: Sequence[Any]) -> bytes:
    return msgspec.json.encode([dict(record) for record in records], enc_hook=_plain)


def _plain(value: Any) -> Any:
    """A composite as an object; addresses, ranges and the like as they are written."""
    return dict(value) if isinstance(value, asyncpg.Record) else str(value)


# What the frame's values are to blame for: data exceptions and broken constraints.
_BLAMED_ON_DATA: Final = ("22", "23")
# Connections, resources, an operator's intervention, the system, a wrong password.
_AWAY: Final = ("08", "53", "57", "58", "28", "3D")


_CANCELLED: Final = "57014"


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise
    except asyncpg.PostgresError as exc:
        state = exc.sqlstate or ""
        if state == _CANCELLED:
            raise QueryError("the query was cancelled", state) from exc
        if state.startswith(_AWAY):
            raise DatabaseUnavailableError(f"PostgreSQL refuses ({state})") from exc
        if state.startswith(_BLAMED_ON_DATA) or isinstance(exc, asyncpg.InvalidNameError):
            raise MessageError(f"PostgreSQL cannot take these values ({state})") from exc
        raise QueryError(str(exc), state) from exc
    except asyncpg.ClientConfigurationError as exc:
        raise ConfigurationError(f"the address of the database cannot be used: {exc}") from exc
    except (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, EOFError) as exc:
        if isinstance(exc, ValueError):
            # A value that asyncpg itself cannot turn into the parameter's type.
            raise MessageError("a value is not of its parameter's type") from exc
        raise DatabaseUnavailableError(
            f"PostgreSQL cannot be reached ({type(exc).__name__})"
        ) from exc
