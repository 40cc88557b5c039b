"""Queries that answer messages, against a real server."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets

from gateway.codes import failure_of
from gateway.config.statements import parse_statement
from gateway.errors import DatabaseUnavailableError, GatewayError, MessageError, QueryError
from gateway.remote.postgres import Database
from tests.phpfpm import free_port
from tests.postgresserver import PostgresServer, find_postgres
from tests.wsgate import serve

pytestmark = pytest.mark.skipif(find_postgres() is None, reason="no PostgreSQL here")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture
async def database(server) -> AsyncIterator[Database]:
    database = Database(server.dsn, max_connections=2, timeout=5)
    yield database
    await database.close()


async def rows(database: Database, sql: str, *values: Any) -> Any:
    return json.loads(await database.rows(parse_statement(sql).text, values))


async def test_rows_are_a_list_of_objects_in_the_order_of_the_query(database) -> None:
    found = await rows(database, "select n, n * 2 as double from generate_series(1, 3) n")
    assert found == [{"n": 1, "double": 2}, {"n": 2, "double": 4}, {"n": 3, "double": 6}]
    assert await rows(database, "select 1 where false") == []


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("null::int", None),
        ("true", True),
        ("9007199254740993", 9007199254740993),
        ("1.5::float8", 1.5),
        ("123456789012345678901234567890.5::numeric", 123456789012345678901234567890.5),
        ("'NaN'::numeric", "NaN"),
        ("'NaN'::float8", None),
        ("'grüße'", "grüße"),
        ("'2026-01-31 12:00:00.5+00'::timestamptz at time zone 'UTC'", "2026-01-31T12:00:00.5"),
        ("'2026-01-31'::date", "2026-01-31"),
        ("'12:30'::time", "12:30:00"),
        ("'1 day'::interval", "1 day"),
        ("'{\"a\": [1]}'::jsonb", {"a": [1]}),
        ("array[1, 2]", [1, 2]),
        ("'b3b8e1a0-0000-4000-8000-000000000000'::uuid", "b3b8e1a0-0000-4000-8000-000000000000"),
        ("'\\x0001'::bytea", "AAE="),
        ("'127.0.0.1'::inet", "127.0.0.1"),
        ("row(1, 'x')", [1, "x"]),
    ],
)
async def test_a_value_becomes_what_json_has_for_it(database, sql, value) -> None:
    assert await rows(database, f"select {sql} as v") == [{"v": value}]


async def test_a_moment_is_iso_8601_with_its_zone(database) -> None:
    await rows(database, "set time zone 'Asia/Kolkata'")
    ((now,),) = [row.values() for row in await rows(database, "select now()")]
    assert now[10] == "T"
    assert now[-6] in "+-"
    assert now[-3] == ":"


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("text", "x'; drop table students; --"),
        ("int", 7),
        ("float8", 7),
        ("numeric", 1.25),
        ("numeric", "1.25"),
        ("bool", True),
        ("timestamptz", "2026-01-31T12:00:00Z"),
        ("date", "2026-01-31"),
        ("interval", "1 day"),
        ("uuid", "b3b8e1a0-0000-4000-8000-000000000000"),
        ("jsonb", {"a": [1, None]}),
        ("int[]", [1, 2]),
        ("text[]", ["a", "b"]),
        ("int", None),
    ],
)
async def test_a_value_of_json_is_bound_as_the_type_of_its_parameter(
    database, type_, value
) -> None:
    ((found,),) = [
        row.values() for row in await rows(database, f"select :v::{type_} is not null as v", value)
    ]
    assert found is (value is not None)


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("int", "7"),
        ("int", 2**40),
        ("int", {"a": 1}),
        ("text", 7),
        ("text", "a\0b"),
        ("timestamptz", "no time"),
        ("timestamptz", [1]),
        ("uuid", "no uuid"),
        ("int[]", "no list"),
        ("bool", "yes"),
    ],
)
async def test_a_value_that_is_not_of_the_type_is_the_clients_mistake(
    database, type_, value
) -> None:
    with pytest.raises(MessageError):
        await rows(database, f"select :v::{type_}", value)
    assert await rows(database, "select 1 as v") == [{"v": 1}]


async def test_a_query_that_the_server_refuses_is_ours(database) -> None:
    with pytest.raises(QueryError, match="42P01") as caught:
        await rows(database, "select * from nowhere")
    assert failure_of(caught.value).type == "upstream_error"


async def test_a_broken_constraint_is_the_clients_mistake(database) -> None:
    await rows(database, "create table once (id int primary key)")
    await rows(database, "insert into once values (:id)", 1)
    with pytest.raises(MessageError):
        await rows(database, "insert into once values (:id)", 1)


async def test_past_the_deadline_the_query_is_cancelled_on_the_server(server) -> None:
    database = Database(server.dsn, max_connections=1, timeout=0.3)
    with pytest.raises(TimeoutError):
        await rows(database, "select pg_sleep(60)")
    patient = Database(server.dsn, max_connections=1, timeout=5)
    sleeping = "select count(*) as n from pg_stat_activity where query like 'select pg_sl%'"
    for _ in range(200):
        if await rows(patient, f"{sleeping} and state = 'active'") == [{"n": 0}]:
            break
    else:
        pytest.fail("the query goes on")
    # The pool's only connection serves again.
    for _ in range(50):
        try:
            assert await rows(database, "select 1 as v") == [{"v": 1}]
            break
        except TimeoutError:
            continue
    else:
        pytest.fail("the connection was lost")
    await database.close()
    await patient.close()


async def test_no_more_connections_than_the_cap_whatever_is_asked(server) -> None:
    database = Database(server.dsn, max_connections=2, timeout=10)
    backends = "select pg_backend_pid() as pid, pg_sleep(0.01)"
    found = await asyncio.gather(*(rows(database, backends) for _ in range(20)))
    assert len({row[0]["pid"] for row in found}) == 2
    await database.close()


async def test_a_database_that_is_away_is_away_and_then_back(server) -> None:
    database = Database(server.dsn, max_connections=1, timeout=2)
    assert await rows(database, "select 1 as v")
    server.stop()
    for _ in range(2):
        with pytest.raises((DatabaseUnavailableError, TimeoutError)):
            await rows(database, "select 1 as v")
    server.start()
    for _ in range(20):
        try:
            assert await rows(database, "select 1 as v")
            break
        except GatewayError:
            continue
    else:
        pytest.fail("it did not come back")
    await database.close()


async def test_through_a_bouncer_nothing_is_kept_prepared(server) -> None:
    database = Database(server.dsn, max_connections=1, timeout=5, bouncer=True)
    for number in range(3):
        assert await rows(database, "select :n::int as n", number) == [{"n": number}]
    assert await rows(database, "select count(*) as n from pg_prepared_statements") == [{"n": 0}]
    await database.close()


@pytest.fixture
async def gateway(server, tmp_path: Path) -> AsyncIterator[str]:
    port = free_port()
    file = tmp_path / "wsgate.yaml"
    file.write_text(f"""
listen: 127.0.0.1:{port}
internal: {{listen: "unix:{tmp_path}/internal.sock"}}
databases:
  main: {{dsn: "{server.dsn}", timeout: 1s}}
routes:
  - path: /ws
    concurrency: 4
    messages:
      select: action
      rules:
        now: {{postgres: {{dsn: main, query: "select now()"}}}}
        echo: {{postgres: {{dsn: main, query: "select :text::text as text"}}}}
        slow: {{postgres: {{dsn: main, query: "select pg_sleep(:for) as slept"}}}}
        bad: {{postgres: {{dsn: main, query: "select secret_column from nowhere"}}}}
""")
    async with serve(file):
        yield f"ws://127.0.0.1:{port}/ws"


async def test_a_message_is_answered_with_rows_and_a_failure_with_an_error_frame(
    gateway,
) -> None:
    async with websockets.connect(gateway) as client:

        async def answer(message: str) -> Any:
            await client.send(message)
            return json.loads(await asyncio.wait_for(client.recv(), 10))

        assert list((await answer('{"action":"now"}'))[0]) == ["now"]
        injection = "'; drop table x; --"
        echoed = await answer(json.dumps({"action": "echo", "text": injection}))
        assert echoed == [{"text": injection}]
        assert await answer('{"action":"echo","text":null}') == [{"text": None}]

        missing = await answer('{"action":"echo"}')
        assert (missing["error"]["code"], missing["error"]["type"]) == (400, "bad_request")
        refused = await answer('{"action":"bad"}')
        assert refused["error"]["code"] == 502
        assert "secret_column" not in json.dumps(refused)
        late = await answer('{"action":"slow","for":30}')
        assert (late["error"]["code"], late["error"]["message_id"]) == (504, 6)


async def test_answers_of_queries_keep_the_order_of_their_messages(gateway) -> None:
    async with websockets.connect(gateway) as client:
        await client.send('{"action":"slow","for":0.2}')
        for number in range(3):
            await client.send(json.dumps({"action": "echo", "text": str(number)}))
        answers = [json.loads(await asyncio.wait_for(client.recv(), 10)) for _ in range(4)]
    assert list(answers[0][0]) == ["slept"]
    assert [answer[0]["text"] for answer in answers[1:]] == ["0", "1", "2"]
