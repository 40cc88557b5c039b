"""The pool against the real php-fpm: reuse, sending again, restarts, faults, fairness."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from fastcgi.address import parse_address
from fastcgi.errors import (
    AddressForbiddenError,
    Executed,
    FastCGIError,
    RequestTimeoutError,
    UpstreamDiedError,
    UpstreamUnavailableError,
)
from fastcgi.limits import Limits
from fastcgi.pool import Pool
from tests.fastcgi.exchanges import Recorder, ended, open_descriptors, parameters, until
from tests.phpfpm import PhpFpm

ECHO = 'echo file_get_contents("php://input");'
# One write of O_APPEND is atomic: its lines are the executions.
COUNT = 'file_put_contents({path!r}, file_get_contents("php://input") . "\\n", FILE_APPEND);'

StartPhpFpm = Callable[..., PhpFpm]
OpenPool = Callable[..., Pool]


@pytest.fixture
async def open_pool() -> AsyncIterator[OpenPool]:
    """Opens pools on servers; the end of the test closes them."""
    async with AsyncExitStack() as stack:

        def open_it(*servers: PhpFpm, **limits: object) -> Pool:
            addresses = [parse_address(server.address) for server in servers]
            pool = Pool(addresses, Limits(**limits))  # type: ignore[arg-type]
            stack.push_async_callback(pool.close)
            return pool

        yield open_it


def counting_script(server: PhpFpm, code: str = "") -> tuple[str, Callable[[], Counter[str]]]:
    """A script that notes each execution by its body, and a look at the notes."""
    path = server.folder / "executed"
    path.touch()
    script = server.script("count.php", COUNT.format(path=str(path)) + f"{code}\n{ECHO}")
    return script, lambda: Counter(path.read_text().split())


async def run_load(pool: Pool, script: str, total: int, *, at_once: int = 64) -> list[Recorder]:
    """`total` numbered requests, `at_once` submitters, each beginning anew in its callback."""
    made: list[Recorder] = []

    def submit_next(_: Recorder | None = None) -> None:
        if len(made) < total:
            exchange = Recorder(script, str(len(made)).encode(), then=submit_next)
            made.append(exchange)
            pool.submit(exchange)

    for _ in range(at_once):
        submit_next()
    await until(lambda: len(made) == total and all(e.callbacks for e in made[-at_once:]), 60)
    await ended(made)
    return made


async def until_answered(pool: Pool, count: int) -> None:
    await until(lambda: pool.statistics().answered >= count)


def assert_each_answered_by_its_own(exchanges: list[Recorder]) -> None:
    for exchange in exchanges:
        assert exchange.callbacks == 1
        assert exchange.text == exchange.body.decode()


@pytest.mark.parametrize("max_requests", [1, 2, 3])
async def test_children_that_retire_execute_every_request_exactly_once(
    start_php_fpm: StartPhpFpm, open_pool: OpenPool, max_requests: int
):
    total = int(os.environ.get("WSGATE_TEST_REQUESTS", "2000"))
    server = start_php_fpm(max_children=4, max_requests=max_requests)
    script, executed = counting_script(server)
    pool = open_pool(server, max_connections=4)

    made = await run_load(pool, script, total)

    assert_each_answered_by_its_own(made)
    assert executed() == Counter(str(number) for number in range(total))


async def test_a_parked_connection_that_ends_is_closed_at_once(
    php_fpm: PhpFpm, open_pool: OpenPool
):
    pool = open_pool(php_fpm, idle_timeout=60)
    exchange = Recorder(php_fpm.script("pid.php", "echo getmypid();"))
    pool.submit(exchange)
    await exchange.done
    assert pool.statistics().open == 1

    os.kill(int(exchange.text), signal.SIGKILL)

    await until(lambda: pool.statistics().open == 0)


async def test_idle_connections_give_their_children_back(php_fpm: PhpFpm, open_pool: OpenPool):
    pool = open_pool(php_fpm, idle_timeout=0.2)
    made = await run_load(pool, php_fpm.script("echo.php", ECHO), 100)

    await until(lambda: pool.statistics().open == 0, 2)

    assert_each_answered_by_its_own(made)
    assert pool.statistics().connects <= 4


async def test_a_script_that_kills_itself_is_executed_once(php_fpm: PhpFpm, open_pool: OpenPool):
    script, executed = counting_script(php_fpm, 'exec("kill -9 " . getmypid());')
    pool = open_pool(php_fpm)
    warm = Recorder(php_fpm.script("echo.php", ECHO), b"warm")
    pool.submit(warm)
    await ended([warm])
    await until(lambda: pool.statistics().settling == 0 or pool.statistics().idle)

    exchange = Recorder(script, b"once")
    pool.submit(exchange)
    await exchange.done

    assert isinstance(exchange.error, UpstreamDiedError)
    assert exchange.error.executed is Executed.MAYBE
    assert executed() == {"once": 1}
    assert pool.statistics().retries == {}


async def test_an_idempotent_request_is_sent_once_more_after_an_unclear_end(
    php_fpm: PhpFpm, open_pool: OpenPool
):
    script, executed = counting_script(php_fpm, 'exec("kill -9 " . getmypid());')
    pool = open_pool(php_fpm)

    exchange = Recorder(script, b"twice", idempotent=True)
    pool.submit(exchange)
    await exchange.done

    assert isinstance(exchange.error, UpstreamDiedError)
    assert executed() == {"twice": 2}
    assert pool.statistics().retries == {"idempotent": 1}


@pytest.mark.parametrize("read", ["", 'file_get_contents("php://input");'])
@pytest.mark.parametrize("body", [b"", b'{"a":1}', b"x" * 8000])
async def test_a_script_that_ends_its_answer_early_blocks_nobody(
    php_fpm: PhpFpm, open_pool: OpenPool, read: str, body: bytes
):
    """END_REQUEST has come, but the child is still at work and its connection counts as such."""
    gate = php_fpm.folder / "gate"
    wait = f"while (!file_exists('{gate}')) {{ usleep(1000); clearstatcache(); }}"
    early = php_fpm.script("early.php", f'{read} echo "early"; fastcgi_finish_request(); {wait}')
    echo = php_fpm.script("echo.php", ECHO)
    pool = open_pool(php_fpm, max_connections=2)
    first = Recorder(early, body)
    pool.submit(first)
    await ended([first])

    others = await run_load(pool, echo, 50)

    assert_each_answered_by_its_own(others)
    # The last answer may have come a moment before its child was back to read.
    await until(lambda: pool.statistics().settling == 1)
    gate.touch()
    await until(lambda: pool.statistics().settling == 0)


async def test_under_load_nobody_is_handed_a_connection_whose_script_goes_on(
    start_php_fpm: StartPhpFpm, open_pool: OpenPool
):
    server = start_php_fpm(max_children=4)
    gate = server.folder / "gate"
    wait = f"while (!file_exists('{gate}')) {{ usleep(1000); clearstatcache(); }}"
    early = server.script("early.php", f'echo "early"; fastcgi_finish_request(); {wait}')
    pool = open_pool(server, max_connections=3)
    slow = [Recorder(early) for _ in range(2)]
    rest = [Recorder(server.script("echo.php", ECHO), b"%d" % number) for number in range(100)]
    for exchange in [*slow, *rest]:
        pool.submit(exchange)

    await ended([*slow, *rest])

    assert_each_answered_by_its_own(rest)
    gate.touch()


async def test_ten_thousand_cancellations_leak_nothing(php_fpm: PhpFpm, open_pool: OpenPool):
    pool = open_pool(php_fpm, max_connections=4, idle_timeout=0.1)
    script = php_fpm.script("echo.php", ECHO)
    before = open_descriptors()
    for _ in range(100):
        tasks = [
            asyncio.create_task(
                pool.request(parameters(script, b"x"), b"x", timeout=10, script=script)
            )
            for _ in range(100)
        ]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)

    await until(lambda: pool.statistics().open == 0)

    assert pool.statistics().waiting == 0
    assert open_descriptors() == before
    assert await pool.request(parameters(script, b"x"), b"x", timeout=10, script=script)


async def test_a_request_given_up_keeps_its_place_until_php_is_through(
    php_fpm: PhpFpm, open_pool: OpenPool
):
    """Otherwise hung scripts would multiply: each timeout would start another one."""
    gate = php_fpm.folder / "gate"
    wait = f"while (!file_exists('{gate}')) {{ usleep(1000); clearstatcache(); }} echo 'late';"
    pool = open_pool(php_fpm, max_connections=1)
    given_up = Recorder(php_fpm.script("hang.php", wait), timeout=0.05)
    pool.submit(given_up)
    await ended([given_up])
    assert isinstance(given_up.error, RequestTimeoutError)
    assert given_up.error.executed is Executed.MAYBE
    following = Recorder(php_fpm.script("echo.php", ECHO), b"mine")
    pool.submit(following)
    assert pool.statistics().draining == 1
    assert pool.statistics().waiting == 1

    gate.touch()
    await ended([following])

    assert following.text == "mine"
    assert pool.statistics().connects == 2


@pytest.mark.parametrize("reload", ["reload", "reopen_logs"])
async def test_signals_to_php_fpm_under_load_execute_nothing_twice(
    start_php_fpm: StartPhpFpm, open_pool: OpenPool, reload: str
):
    server = start_php_fpm(max_children=4)
    script, executed = counting_script(server)
    pool = open_pool(server, max_connections=4)
    load = asyncio.create_task(run_load(pool, script, 3000))
    for _ in range(3):
        await until_answered(pool, pool.statistics().answered + 300)
        getattr(server, reload)()

    made = await load

    counts = executed()
    assert max(counts.values()) == 1
    for exchange in made:
        assert exchange.callbacks == 1
        if exchange.error is None:
            assert exchange.text == exchange.body.decode()
            assert counts[exchange.text] == 1
        else:
            # It was being executed when its child was killed.
            assert exchange.error.executed is Executed.MAYBE


async def test_requests_wait_while_php_fpm_restarts(php_fpm: PhpFpm, open_pool: OpenPool):
    pool = open_pool(php_fpm, retry_for=10)
    script = php_fpm.script("echo.php", ECHO)
    php_fpm.stop()
    waiting = [Recorder(script, b"%d" % number) for number in range(20)]
    for exchange in waiting:
        pool.submit(exchange)
    assert pool.statistics().away == (php_fpm.address,)

    await asyncio.to_thread(php_fpm.start)
    await ended(waiting)

    assert_each_answered_by_its_own(waiting)
    assert pool.statistics().away == ()


async def test_requests_fail_by_name_when_php_fpm_stays_away(php_fpm: PhpFpm, open_pool: OpenPool):
    pool = open_pool(php_fpm, retry_for=0.2)
    php_fpm.stop()
    exchange = Recorder(str(php_fpm.document_root / "none.php"))
    pool.submit(exchange)
    await ended([exchange])
    assert isinstance(exchange.error, UpstreamUnavailableError)
    assert exchange.error.executed is Executed.NEVER
    assert php_fpm.address in str(exchange.error)


async def test_a_refused_connection_is_away_too(start_php_fpm: StartPhpFpm, open_pool: OpenPool):
    """ECONNREFUSED, where a missing unix socket is ENOENT."""
    server = start_php_fpm(tcp=True)
    pool = open_pool(server, retry_for=0.1)
    server.stop()
    exchange = Recorder("/none.php")
    pool.submit(exchange)
    await ended([exchange])
    assert isinstance(exchange.error, UpstreamUnavailableError)


async def test_more_connections_than_children_do_not_deadlock(
    start_php_fpm: StartPhpFpm, open_pool: OpenPool
):
    """The surplus connections sit in the backlog until idle ones give their children back."""
    server = start_php_fpm(max_children=2)
    pool = open_pool(server, max_connections=8, idle_timeout=0.1)
    made = await run_load(pool, server.script("echo.php", ECHO), 500)
    assert_each_answered_by_its_own(made)


async def test_a_thousand_waiters_are_served_first_in_first_out(
    php_fpm: PhpFpm, open_pool: OpenPool
):
    script, _ = counting_script(php_fpm)
    pool = open_pool(php_fpm, max_connections=1)
    made = [Recorder(script, b"%04d" % number) for number in range(1000)]
    for exchange in made:
        pool.submit(exchange)
    await ended(made)
    lines = (php_fpm.folder / "executed").read_text().split()
    assert lines == sorted(lines)
    assert len(lines) == 1000


@pytest.mark.parametrize("keepalive", [True, False])
async def test_over_tcp_every_answer_is_whole(
    start_php_fpm: StartPhpFpm, open_pool: OpenPool, *, keepalive: bool
):
    server = start_php_fpm(tcp=True)
    script = server.script("large.php", 'echo str_repeat("0123456789", 2000);')
    pool = open_pool(server, keepalive=keepalive, max_connections=2)
    made = await run_load(pool, script, 60, at_once=4)
    assert all(exchange.text == "0123456789" * 2000 for exchange in made)
    assert (pool.statistics().connects <= 2) == keepalive


async def test_a_kept_tcp_connection_does_not_wait_for_delayed_acknowledgements(
    start_php_fpm: StartPhpFpm, open_pool: OpenPool
):
    """Without TCP_QUICKACK each of these would take 40 ms: 4 s in all."""
    server = start_php_fpm(tcp=True)
    script = server.script("large.php", 'echo str_repeat("0123456789", 2000);')
    pool = open_pool(server, keepalive=True, max_connections=1)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    made = await run_load(pool, script, 100, at_once=1)
    assert all(exchange.error is None for exchange in made)
    assert pool.statistics().connects == 1
    assert loop.time() - begun < 2.0


async def test_the_frames_of_another_address_go_on_when_one_is_away(
    start_php_fpm: StartPhpFpm, open_pool: OpenPool
):
    one, other = start_php_fpm(), start_php_fpm()
    script = one.script("echo.php", ECHO)
    pool = open_pool(one, other, max_connections=4)
    made = await run_load(pool, script, 100)
    assert_each_answered_by_its_own(made)
    assert {endpoint.opened for endpoint in pool._slots.endpoints} == {2}
    other.stop()

    made = await run_load(pool, script, 200)

    assert_each_answered_by_its_own(made)


async def test_a_body_is_streamed_as_php_flushes_it(php_fpm: PhpFpm, open_pool: OpenPool):
    script = php_fpm.script("lines.php", 'foreach ([1, 2, 3] as $n) { echo "$n\\n"; flush(); }')
    pool = open_pool(php_fpm)
    exchange = Recorder(script, stream=True)
    pool.submit(exchange)
    await ended([exchange])
    assert b"".join(exchange.chunks) == b"1\n2\n3\n"
    assert exchange.text == ""


async def test_large_bodies_travel_both_ways_at_once(php_fpm: PhpFpm, open_pool: OpenPool):
    body = os.urandom(3_000_000)
    code = (
        '$in = fopen("php://input", "r");'
        "while (!feof($in)) { echo base64_encode(fread($in, 3000)); }"
    )
    pool = open_pool(php_fpm)
    exchange = Recorder(php_fpm.script("both.php", code), body)
    pool.submit(exchange)
    await ended([exchange])
    assert len(exchange.text) == 4_000_000


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without rights")
async def test_a_socket_without_rights_is_said_at_once(php_fpm: PhpFpm, open_pool: OpenPool):
    php_fpm.socket_path.chmod(0)
    pool = open_pool(php_fpm, retry_for=60)
    exchange = Recorder("/none.php")
    os.seteuid(65534)
    try:
        pool.submit(exchange)
    finally:
        os.seteuid(0)
    await ended([exchange], 5)
    assert isinstance(exchange.error, AddressForbiddenError)


async def test_a_killed_php_fpm_comes_back_and_nobody_is_lost(php_fpm: PhpFpm, open_pool: OpenPool):
    script, executed = counting_script(php_fpm)
    pool = open_pool(php_fpm, max_connections=4, retry_for=10)
    load = asyncio.create_task(run_load(pool, script, 2000))
    await until(lambda: pool.statistics().answered > 300)
    php_fpm.kill()
    await asyncio.to_thread(php_fpm.start)

    made = await load

    assert max(executed().values()) == 1
    failed = [exchange.error for exchange in made if exchange.error is not None]
    assert len(failed) <= 4
    assert all(isinstance(error, FastCGIError) for error in failed)
