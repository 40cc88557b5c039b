"""The doctor before a real php-fpm, a real PostgreSQL, and servers that are not there."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli.doctor import command
from gateway.remote.postgres import Database
from tests.phpfpm import PhpFpm, free_port
from tests.postgresserver import PostgresServer, find_postgres

FINE = "file_put_contents(__DIR__ . '/executed', '1');"


def ask(folder: Path, php: PhpFpm, more: str = "", *, connections: int = 3) -> Result:
    file = folder / "wsgate.yaml"
    file.write_text(f"""
upstreams:
  app:
    address: "{php.address}"
    document_root: "{php.document_root}"
    max_connections: {connections}
routes:
  - {{path: /ws, upstream: app, script: /ws.php, serialize_by: "cookie:PHPSESSID"}}
{more}
""")
    arguments = ["-c", str(file), "--pool-file", str(php.folder / "php-fpm.conf")]
    return CliRunner().invoke(command, arguments, catch_exceptions=False)


def test_a_healthy_system_needs_no_change_and_no_script_was_executed(
    php_fpm: PhpFpm, tmp_path: Path
) -> None:
    script = php_fpm.script("ws.php", FINE)
    answer = ask(tmp_path, php_fpm)
    assert answer.exit_code == 0, answer.output
    assert f"{php_fpm.address} answers, PHP 8" in answer.output
    assert f"{script} is there" in answer.output
    assert "3 of the 4 children" in answer.output
    assert answer.output.endswith("nothing has to be changed\n")
    assert not (php_fpm.document_root / "executed").exists()


def test_a_pool_that_is_too_small_is_named_with_the_number_to_set(
    php_fpm: PhpFpm, tmp_path: Path
) -> None:
    php_fpm.script("ws.php", FINE)
    answer = ask(tmp_path, php_fpm, connections=4)
    assert answer.exit_code == 1
    assert "FIX  upstreams.app.max_connections: 4, but pm.max_children is 4" in answer.output
    assert "set max_connections to 3 or less" in answer.output


def test_a_script_that_php_does_not_find_is_named(php_fpm: PhpFpm, tmp_path: Path) -> None:
    answer = ask(tmp_path, php_fpm)
    assert answer.exit_code == 1
    assert f"PHP finds no file {php_fpm.document_root}/ws.php" in answer.output


def test_a_script_that_php_cannot_parse_is_named_with_the_line(start_php_fpm, tmp_path) -> None:
    php_fpm = start_php_fpm(settings={"php_admin_value[extension]": "tokenizer"})
    php_fpm.script("ws.php", "if (")
    answer = ask(tmp_path, php_fpm)
    assert answer.exit_code == 1
    assert "ws.php has a syntax error; line 3" in answer.output


def test_the_status_page_tells_of_children_that_were_all_busy(start_php_fpm, tmp_path) -> None:
    php_fpm = start_php_fpm(settings={"pm.status_path": "/status"})
    php_fpm.script("ws.php", FINE)
    answer = ask(tmp_path, php_fpm)
    assert answer.exit_code == 0, answer.output


def test_a_php_fpm_that_is_not_there_is_said_with_its_cure(php_fpm: PhpFpm, tmp_path: Path) -> None:
    php_fpm.stop()
    answer = ask(tmp_path, php_fpm)
    assert answer.exit_code == 1
    assert "FIX  upstreams.app.address" in answer.output
    assert "is php-fpm running and listening there?" in answer.output


def test_servers_that_do_not_answer_are_named_without_their_passwords(
    php_fpm: PhpFpm, tmp_path: Path
) -> None:
    php_fpm.script("ws.php", FINE)
    port = free_port()
    more = f"""
broker: {{type: redis, url: "redis://:hunter2@127.0.0.1:{port}/0"}}
databases: {{main: "postgresql://u:hunter2@127.0.0.1:{port}/d"}}
stores: {{memcached: "127.0.0.1:{port}"}}
sources:
  - {{type: postgres, dsn: main, match: "pg.*"}}
"""
    answer = ask(tmp_path, php_fpm, more)
    assert answer.exit_code == 1
    for place in ("broker.url", "databases.main", "stores.memcached", "sources[0].dsn"):
        assert f"FIX  {place}: " in answer.output
    assert "hunter2" not in answer.output


QUERIES = """
databases: {main: "%s", other: "%s"}
channels:
  - match: "order.*"
    on_subscribe: {postgres: {dsn: main, query: "%s"}}
    on_unsubscribe: {postgres: {dsn: main, query: "delete from watching where id = :connection"}}
"""
RULES = """
  - name: shop
    path: /db
    messages:
      select: a
      rules:
        order: {postgres: {dsn: main, query: "%s"}}
        "a.b": {postgres: {dsn: other, query: "select :n::int as n"}}
"""
TABLES = (
    "create table watching (id text)",
    "create table orders (id int, state text)",
    "create table noted (who text)",
    "create role reader login",
    "create schema closed",
    "create table closed.orders (id int)",
)


def ask_queries(
    folder: Path, php: PhpFpm, server: PostgresServer, *, rule: str, coming: str
) -> list[str]:
    more = RULES % rule + QUERIES % (server.dsn, server.dsn, coming)
    return ask(folder, php, more).output.splitlines()


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    if find_postgres() is None:
        pytest.skip("no PostgreSQL here")
    with PostgresServer() as server:
        for statement in TABLES:
            ask_database(server, statement)
        yield server


def ask_database(server: PostgresServer, statement: str) -> str:
    async def execute() -> str:
        database = Database(server.dsn, max_connections=1, timeout=10)
        try:
            return (await database.rows(statement, ())).decode()
        finally:
            await database.close()

    return asyncio.run(execute())


def test_each_query_that_the_database_accepts_is_said_and_none_was_executed(
    php_fpm: PhpFpm, tmp_path: Path, postgres: PostgresServer
) -> None:
    php_fpm.script("ws.php", FINE)
    lines = ask_queries(
        tmp_path,
        php_fpm,
        postgres,
        rule="insert into noted values (:who)",
        coming="insert into noted select state from orders where id = :wildcard::int",
    )
    for place in (
        "routes.shop.messages.rules.order.postgres.query",
        'routes.shop.messages.rules."a.b".postgres.query',
        "channels[0].on_subscribe.postgres.query",
        "channels[0].on_unsubscribe.postgres.query",
    ):
        assert f"ok   {place}: the database accepts it" in lines
    assert lines[-1] == "nothing has to be changed"
    assert ask_database(postgres, "select * from noted") == "[]"


@pytest.mark.parametrize(
    ("query", "finding"),
    [
        ("select * from nowhere", 'relation "nowhere" does not exist; create it, or correct'),
        ("select total from orders", 'column "total" does not exist; correct the name of the'),
        ("select * frm orders", 'syntax error at or near "frm"; correct the statement'),
        ("select * from gone.orders", 'relation "gone.orders" does not exist; create it'),
        ("insert into gone.orders values (1)", 'relation "gone.orders" does not exist; '),
        ("select nothing(1)", "function nothing(integer) does not exist; correct it, or say"),
        ("select :a + :b", "operator is not unique: unknown + unknown; correct it, or say"),
        ("select 'x'::int", 'invalid input syntax for type integer: "x"; correct the query'),
    ],
)
def test_a_query_that_the_database_refuses_is_named_with_its_place_and_cure(
    php_fpm: PhpFpm, tmp_path: Path, postgres: PostgresServer, query: str, finding: str
) -> None:
    php_fpm.script("ws.php", FINE)
    lines = ask_queries(tmp_path, php_fpm, postgres, rule=query, coming="select 1")
    place = "routes.shop.messages.rules.order.postgres.query"
    assert [line for line in lines if line.startswith(f"FIX  {place}: {finding}")], lines
    assert "ok   databases.main: answers" in lines
    assert lines[-1] == "1 to change"


@pytest.mark.parametrize(
    "query",
    [
        "select state from orders where id = :wildcard",
        "insert into orders (id) values (:wildcard)",
    ],
)
def test_a_query_of_a_channel_that_lacks_a_cast_is_told_to_write_one(
    php_fpm: PhpFpm, tmp_path: Path, postgres: PostgresServer, query: str
) -> None:
    php_fpm.script("ws.php", FINE)
    lines = ask_queries(tmp_path, php_fpm, postgres, rule="select 1", coming=query)
    (line,) = [line for line in lines if line.startswith("FIX ")]
    assert line.startswith("FIX  channels[0].on_subscribe.postgres.query: ")
    assert line.endswith("every parameter is text: cast it, as in :wildcard::int")


def test_a_schema_that_the_user_may_not_use_is_told_with_the_key_that_names_the_user(
    php_fpm: PhpFpm, tmp_path: Path, postgres: PostgresServer
) -> None:
    php_fpm.script("ws.php", FINE)
    dsn = postgres.dsn.replace("tester@", "reader@")
    more = RULES % "select 1" + QUERIES % (dsn, dsn, "select * from closed.orders")
    lines = ask(tmp_path, php_fpm, more).output.splitlines()
    place = "channels[0].on_subscribe.postgres.query"
    cure = "grant it to the user of databases.main.dsn"
    assert f"FIX  {place}: permission denied for schema closed; {cure}" in lines


def test_of_a_database_that_is_away_only_that_is_said(
    php_fpm: PhpFpm, tmp_path: Path, postgres: PostgresServer
) -> None:
    php_fpm.script("ws.php", FINE)
    dsn = f"postgresql://u:hunter2@127.0.0.1:{free_port()}/d"
    more = RULES % "select * from nowhere" + QUERIES % (dsn, postgres.dsn, "select 1")
    lines = ask(tmp_path, php_fpm, more).output.splitlines()
    (line,) = [line for line in lines if line.startswith("FIX ")]
    assert line.startswith("FIX  databases.main: PostgreSQL cannot be reached")
    assert "start the server, or correct the address" in line
    assert not [line for line in lines if "order.postgres" in line or "channels" in line]
    assert "ok   databases.other: answers" in lines


def test_without_the_extra_for_postgresql_it_is_said_what_to_install(
    php_fpm: PhpFpm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    php_fpm.script("ws.php", FINE)
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    monkeypatch.delitem(sys.modules, "gateway.remote.postgres")
    more = 'sources: [{type: postgres, dsn: main, match: "pg.*"}]\n'
    more += 'databases: {main: "postgresql://h/d"}\n'
    answer = ask(tmp_path, php_fpm, more)
    for place in ("databases.main", "sources[0].dsn"):
        assert f"FIX  {place}: PostgreSQL needs the extra: pip install" in answer.output
    assert "start the server" not in answer.output


def test_a_file_with_mistakes_is_answered_with_them(tmp_path: Path) -> None:
    file = tmp_path / "wsgate.yaml"
    file.write_text("upstreamz: {}\n")
    answer = CliRunner().invoke(command, ["-c", str(file)])
    assert answer.exit_code == 1
    assert "did you mean upstreams?" in answer.output
