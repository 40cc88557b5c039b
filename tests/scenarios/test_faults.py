"""php-fpm away, full, killed, restarted; and that nothing is lost, doubled or mixed up."""

import asyncio
import gc
import json
import os
import signal
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from tests.inprocess import Gateway, ask
from tests.phpfpm import PhpFpm

Start = Callable[..., Awaitable[Gateway]]
StartPhp = Callable[..., PhpFpm]

KILL = "exec('kill -9 ' . getmypid());"


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def kind(frame: str) -> str:
    return str(json.loads(frame)["error"]["type"])


def counting(gateway: Gateway) -> tuple[str, Callable[[], list[str]]]:
    """PHP that notes each execution by an atomic append; and what it has noted."""
    log = gateway.php.folder / "executed"
    log.unlink(missing_ok=True)
    # Without a lock: one short write to the end of a file is whole, and the signal of a reload
    # would interrupt the wait for the lock, whereupon PHP writes nothing.
    code = f"file_put_contents('{log}', %s . \"\\n\", FILE_APPEND); echo %s;"
    return code, lambda: log.read_text().split() if log.exists() else []


async def test_php_fpm_away_is_told_at_once_and_the_socket_stays(
    start: Start, start_php_fpm: StartPhp
) -> None:
    """Fault 40."""
    php = start_php_fpm()
    gateway = await start(php=php, upstream={"retry_for": "0s"})
    async with gateway.connect() as client:
        assert await ask(client, "echo 1;") == "1"
        php.stop()
        for _ in range(3):
            assert kind(await ask(client, "echo 2;")) == "upstream_unavailable"
        with pytest.raises(InvalidStatus) as caught:
            await gateway.connect()
        assert caught.value.response.status_code == 503
        assert "Retry-After" in caught.value.response.headers
        php.start()
        async with asyncio.timeout(5):
            while (answer := await ask(client, "echo 3;")) != "3":
                assert kind(answer) == "upstream_unavailable"


async def test_frames_wait_while_php_fpm_restarts(start: Start, start_php_fpm: StartPhp) -> None:
    php = start_php_fpm()
    gateway = await start(php=php, upstream={"retry_for": "10s"})
    async with gateway.crowd(20) as clients:
        await asyncio.gather(*(ask(client, "echo 1;") for client in clients))
        php.stop()
        for number, client in enumerate(clients):
            await client.send(f"echo {number};")
        await asyncio.sleep(0.3)
        await asyncio.to_thread(php.start)
        answers = await asyncio.gather(*(asyncio.wait_for(c.recv(), 10) for c in clients))
        assert answers == [str(number) for number in range(20)]


async def test_reload_and_kills_under_load_mix_up_and_double_nothing(
    start: Start, start_php_fpm: StartPhp
) -> None:
    """Fault 44: errors only for what was running at the kill, and each names itself."""
    php = start_php_fpm(max_requests=5, global_settings={"process_control_timeout": "5s"})
    gateway = await start(php=php)
    code, executed = counting(gateway)
    sent, answered, failed = 0, 0, 0

    async with gateway.crowd(16) as clients:

        async def work(place: int) -> None:
            nonlocal sent, answered, failed
            for number in range(60):
                name = f"'{place}-{number}'"
                sent += 1
                frame = await ask(clients[place], code % (name, name), within=20)
                if frame == name.strip("'"):
                    answered += 1
                else:
                    assert kind(frame) in {"upstream_error", "upstream_unavailable"}, frame
                    failed += 1

        async def disturb() -> None:
            for turn in range(6):
                await asyncio.sleep(0.1)
                if turn % 2:
                    php.reload()
                    await asyncio.to_thread(php.wait_until_it_listens)
                elif children := php.children():
                    os.kill(children[0], signal.SIGKILL)

        await asyncio.gather(disturb(), *(work(place) for place in range(16)))

    assert answered + failed == sent == 960
    assert failed <= 30
    done = executed()
    assert len(done) == len(set(done)), "nothing was executed twice"
    assert len(done) >= answered


@pytest.mark.parametrize("max_requests", [1, 2, 3])
async def test_children_that_retire_cost_nothing(
    start: Start, start_php_fpm: StartPhp, max_requests: int
) -> None:
    php = start_php_fpm(max_requests=max_requests)
    gateway = await start(php=php)
    code, executed = counting(gateway)
    async with gateway.crowd(64) as clients:

        async def work(place: int) -> None:
            for number in range(10):
                name = f"{place}-{number}"
                assert await ask(clients[place], code % (f"'{name}'", f"'{name}'"), 30) == name

        await asyncio.gather(*map(work, range(64)))
    assert sorted(executed()) == sorted(f"{p}-{n}" for p in range(64) for n in range(10))


async def test_a_script_that_dies_is_executed_once(start: Start) -> None:
    gateway = await start()
    code, executed = counting(gateway)
    async with gateway.connect() as client:
        assert kind(await ask(client, code % ("1", "1") + KILL)) == "upstream_error"
        assert await ask(client, "echo 'next';") == "next"
    assert executed() == ["1"]


async def test_a_hung_script_answers_in_time_and_keeps_its_place(start: Start) -> None:
    """Fault 43: the slot is taken until php-fpm is really done; connections do not multiply."""
    gateway = await start(
        upstream={"timeout": "300ms", "max_connections": 2, "queue_timeout": "10s"}
    )
    async with gateway.crowd(6) as clients:
        for client in clients:
            await client.send("usleep(700000); echo 'late';")
        most = 0
        answers = [asyncio.create_task(client.recv()) for client in clients]
        while not all(answer.done() for answer in answers):
            stands = gateway.pool
            most = max(most, stands.busy + stands.draining + stands.idle + stands.settling)
            await asyncio.sleep(0.02)
        assert [kind(str(answer.result())) for answer in answers] == ["upstream_timeout"] * 6
        assert most <= 2
        for client in clients:
            assert await ask(client, "echo 'own';") == "own", "nothing late reaches anybody"


async def test_a_full_queue_and_a_wait_too_long_are_told(start: Start) -> None:
    """Fault 42."""
    gateway = await start(
        upstream={"max_connections": 1, "queue_size": 2, "queue_timeout": "400ms"},
        routes=[{"path": "/m", "script": "/ws.php"}],
    )
    async with gateway.crowd(5, "/m") as clients:
        await clients[0].send("usleep(900000); echo 'slow';")
        await asyncio.sleep(0.05)
        for client in clients[1:]:
            await client.send("echo 'quick';")
        frames = await asyncio.gather(*(asyncio.wait_for(c.recv(), 10) for c in clients))
    assert frames[0] == "slow"
    assert [kind(str(frame)) for frame in frames[1:]] == ["queue_full"] * 4


async def test_a_stopped_pool_does_not_touch_another(start: Start, start_php_fpm: StartPhp) -> None:
    """Fault 41."""
    stuck = start_php_fpm()
    stuck.script("ws.php", "echo 'x';")
    gateway = await start(
        more_upstreams={
            "stuck": {
                "address": stuck.address,
                "document_root": str(stuck.document_root),
                "timeout": "300ms",
                "max_connections": 1,
            }
        },
        routes=[{"path": "/stuck", "script": "/ws.php", "upstream": "stuck"}],
    )
    pids = [stuck.pid, *stuck.children()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        async with gateway.connect("/stuck") as bad, gateway.connect() as good:
            await bad.send("x")
            for _ in range(20):
                assert await ask(good, "echo 1;") == "1"
            assert kind(str(await asyncio.wait_for(bad.recv(), 5))) == "upstream_timeout"
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def test_no_reply_reaches_another_connection(start: Start) -> None:
    gateway = await start(upstream={"timeout": "5s"})
    async with gateway.crowd(50) as clients:

        async def work(place: int) -> None:
            for number in range(20):
                pause = (place * 31 + number * 17) % 7 * 300
                answer = await ask(clients[place], f"usleep({pause}); echo '{place}-{number}';", 30)
                assert answer == f"{place}-{number}"

        await asyncio.gather(*map(work, range(50)))


async def test_idle_sockets_hold_no_child(start: Start) -> None:
    gateway = await start(upstream={"idle_timeout": "1s"})
    async with gateway.crowd(10) as clients:
        await asyncio.gather(*(ask(client, "echo 1;") for client in clients))
        assert gateway.pool.idle > 0
        await gateway.until(
            lambda: not (gateway.pool.idle + gateway.pool.busy + gateway.pool.settling), within=2.0
        )


async def test_memory_does_not_grow_with_the_frames(start: Start) -> None:
    gateway = await start()
    async with gateway.connect() as client:

        async def frames(count: int) -> tuple[int, int]:
            for number in range(count):
                await client.send(f"echo '{number}';")
                await client.recv()
            gc.collect()
            return tracemalloc.get_traced_memory()[0], len(gc.get_objects())

        tracemalloc.start()
        try:
            await frames(300)
            size, objects = await frames(300)
            later_size, later_objects = await frames(1500)
        finally:
            tracemalloc.stop()
    assert later_objects - objects < 100
    assert later_size - size < 15_000, "ten bytes a frame would be more"


async def test_connections_come_and_go_without_a_trace(start: Start) -> None:
    """The leak check: sockets, sessions, tasks and watched deadlines."""
    gateway = await start()
    services = gateway.worker.services

    async def churn(count: int) -> tuple[int, int]:
        for _ in range(count):
            async with gateway.crowd(10) as clients:
                await asyncio.gather(
                    *(ask(c, "header('WS-Subscribe: a'); echo 1;") for c in clients)
                )
        await gateway.until(lambda: not len(services.directory) and not len(services.farewell))
        await gateway.until(lambda: not gateway.pool.idle)
        gc.collect()
        await asyncio.sleep(0.05)
        return open_files(), len(asyncio.all_tasks())

    files, tasks = await churn(2)
    later_files, later_tasks = await churn(8)
    # Fewer are no leak: what an earlier test had open may be closed only now.
    assert later_files <= files
    assert later_tasks <= tasks
    assert len(services.keepalive) == 0
    assert services.directory.addresses == {}
    assert gateway.worker.channels.subscriptions == 0
    assert len(services.tasks) == 0
