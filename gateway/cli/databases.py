"""The doctor before the databases: whether they answer, and accept what they will be asked.

Every statement is prepared and none is executed. So what only shows in the execution is not found:
a missing right on a table, a constraint, a value that cannot be cast.
"""

import importlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from gateway.config.model import Config
from gateway.config.problems import Path, place
from gateway.config.services import Database
from gateway.config.statements import Statement, parse_event_statement, parse_statement
from gateway.errors import ConfigurationError, GatewayError, QueryError

from .finding import AWAY, UNUSABLE, Finding

_CAST_EVENT: Final = "every parameter is text: cast it, as in :wildcard::int"
_CAST_FIELD: Final = "correct it, or say the type of a parameter, as in :id::int"
_OF_TYPES: Final = frozenset({"42883", "42804", "42846", "42P08", "42P18", "42725"})
"""SQLSTATEs of types that do not go together, and of functions that are not there for them."""
_CURES: Final = {
    "42P01": "create it, or correct the name; outside of the search_path it is schema.name",
    "3F000": "create the schema, or correct its name",
    "42703": "correct the name of the column",
    "42702": "say of which table it is",
    "42601": "correct the statement",
    "42501": "grant it to the user of databases.{database}.dsn",
}
_ANY_CURE: Final = "correct the query, or what it refers to"


async def examine_databases(config: Config, patience: float) -> AsyncIterator[Finding]:
    """A finding for each database, and where it answers for each of its queries."""
    for name, settings in config.databases.items():
        try:
            database = open_database(settings, settings.dsn, patience)
        except ConfigurationError as exc:
            yield Finding(f"databases.{name}", str(exc), UNUSABLE)
            continue
        try:
            async for finding in _examine(config, name, database):
                yield finding
        finally:
            await database.close()


def open_database(settings: Database, dsn: str, patience: float) -> Any:
    """The database behind one of its addresses; ConfigurationError when it cannot be opened."""
    # Loaded only where it is used: it needs an optional library.
    module: Any = importlib.import_module("gateway.remote.postgres")
    bouncer = bool(settings.listen_dsn)
    return module.Database(dsn, max_connections=1, timeout=patience, bouncer=bouncer)


async def _examine(config: Config, name: str, database: Any) -> AsyncIterator[Finding]:
    here = f"databases.{name}"
    try:
        await database.ask()
        yield Finding(here, "answers")
        for path, statement in _queries(config, name):
            try:
                await database.check(statement.text)
            except QueryError as exc:
                yield _refused(path, exc, name)
            else:
                yield Finding(place(path), "the database accepts it")
    except (GatewayError, OSError, TimeoutError) as exc:
        yield Finding(here, str(exc) or "no answer in time", AWAY)


def _queries(config: Config, database: str) -> Iterator[tuple[Path, Statement]]:
    for route in config.routes:
        for name, rule in route.messages.rules.items() if route.messages else ():
            query = rule.postgres
            if query is not None and query.dsn == database:
                path = ("routes", route.name, "messages", "rules", name, "postgres", "query")
                yield path, parse_statement(query.query)
    for index, channel in enumerate(config.channels):
        reactions = {"on_subscribe": channel.on_subscribe, "on_unsubscribe": channel.on_unsubscribe}
        for key, reaction in reactions.items():
            event = None if reaction is None else reaction.postgres
            if event is not None and event.dsn == database:
                at = ("channels", index, key, "postgres", "query")
                yield at, parse_event_statement(event.query)


def _refused(path: Path, error: QueryError, database: str) -> Finding:
    """What PostgreSQL says, without the detail and the hint on the lines below it."""
    text = str(error).removesuffix(f" ({error.state})").partition("\n")[0]
    if error.state in _OF_TYPES:
        cure = _CAST_EVENT if path[0] == "channels" else _CAST_FIELD
    else:
        cure = _CURES.get(error.state, _ANY_CURE).format(database=database)
    return Finding(place(path), text, cure)
