"""A configuration with databases, where the library for them is or is not installed."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.config.loading import parse
from gateway.errors import ConfigurationError
from gateway.server.databases import open_databases

QUERY = {"postgres": {"dsn": "main", "query": "select 1"}}
RULE = {"path": "/ws", "messages": {"select": "a", "rules": {"x": QUERY}}}


@pytest.mark.parametrize(
    "asked",
    [
        {"routes": [RULE]},
        {"channels": [{"match": "a", "on_subscribe": QUERY}]},
        {"channels": [{"match": "a", "on_unsubscribe": QUERY}]},
    ],
)
def test_without_the_extra_whatever_asks_a_database_names_what_to_install(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    monkeypatch.delitem(sys.modules, "gateway.remote.postgres", raising=False)
    document = {"databases": {"main": "postgresql://h/d"}, **asked}
    config = parse(json.dumps(document), name="x.yaml", folder=Path())
    with pytest.raises(ConfigurationError, match=r"pip install 'wsgate\[postgres\]'"):
        open_databases(config)


def test_without_databases_the_extra_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    monkeypatch.delitem(sys.modules, "gateway.remote.postgres", raising=False)
    databases = open_databases(parse("routes: []", name="x.yaml", folder=Path()))
    assert databases.get("main") is None
