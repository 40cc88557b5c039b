"""The doctor before a real php-fpm, a real PostgreSQL, and servers that are not there."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli.doctor import command
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


@pytest.mark.skipif(find_postgres() is None, reason="no PostgreSQL here")
def test_a_query_that_the_database_refuses_is_found_without_executing_any(
    php_fpm: PhpFpm, tmp_path: Path
) -> None:
    php_fpm.script("ws.php", FINE)
    with PostgresServer() as server:
        rules = """
  - path: /db
    messages:
      select: a
      rules: {x: {postgres: {dsn: main, query: "%s"}}}
databases: {main: "%s"}
"""
        good = ask(tmp_path, php_fpm, rules % ("select :n::int as n", server.dsn))
        bad = ask(tmp_path, php_fpm, rules % ("select * from nowhere", server.dsn))
    assert good.exit_code == 0, good.output
    assert "FIX  databases.main" in bad.output
    assert "nowhere" in bad.output


def test_a_file_with_mistakes_is_answered_with_them(tmp_path: Path) -> None:
    file = tmp_path / "wsgate.yaml"
    file.write_text("upstreamz: {}\n")
    answer = CliRunner().invoke(command, ["-c", str(file)])
    assert answer.exit_code == 1
    assert "did you mean upstreams?" in answer.output
