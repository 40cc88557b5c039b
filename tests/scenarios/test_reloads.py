"""The file is read again and again: sockets stay, and nothing of the old configurations does.

`WSGATE_TEST_RELOADS=1000` makes it the whole thousand of the leak check.
"""

import asyncio
import gc
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config.loading import parse
from tests.inprocess import Gateway, ask
from tests.phpfpm import PhpFpm, find_php_fpm
from tests.workers import Workers, until

RELOADS = int(os.environ.get("WSGATE_TEST_RELOADS", "100"))
# Pools, parsers and the allocator have their final size after so many.
WARM_UP = 20
pytestmark = pytest.mark.timeout(120 + RELOADS)
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def php() -> Iterator[PhpFpm]:
    if find_php_fpm() is None:
        pytest.skip("no php-fpm on this machine")
    with PhpFpm(max_children=8) as server:
        yield server


@pytest.mark.parametrize("workers", [1, 3])
async def test_many_reloads_leave_nothing_behind(php: PhpFpm, tmp_path: Path, workers: int) -> None:
    async with Workers(php, tmp_path, workers=workers) as gateway:
        clients = [
            one for group in (await gateway.spread(workers=workers)).values() for one in group
        ]
        processes = {*await gateway.pids(), gateway.process.pid}
        good = dict(gateway.config)

        async def reload(first: int, count: int) -> None:
            """Every one changes the upstream in use, and replaces another one and its route."""
            for n in range(first, first + count):
                upstream = {**good["upstreams"]["app"], "queue_size": 100 + n % 2}
                route = {**good["routes"][0], "name": f"r{n}", "path": f"/r{n}/{{room}}"}
                gateway.config["upstreams"] = {"app": upstream, f"passing{n}": upstream}
                gateway.config["routes"] = [*good["routes"], {**route, "upstream": f"passing{n}"}]
                gateway.config["channels"] = [*good["channels"], {"match": f"c{n}.*"}]
                gateway.write()
                gateway.reload()
                await gateway.logs("configuration reloaded", f"'r{n}'")
                if n % 10 == 0:
                    for client in clients:
                        assert "reply" in await client.ask(send={"ms": 0})

        async def settled() -> tuple[dict[int, int], int]:
            """Open files of each process, once idle connections are given back; memory of all."""
            async with asyncio.timeout(10):
                while await gateway.metric("wsgate_fastcgi_connections"):
                    pass
            return {pid: files_of(pid) for pid in processes}, sum(map(memory_of, processes))

        await reload(0, WARM_UP)
        files, memory = await settled()
        await reload(WARM_UP, RELOADS)
        later_files, later_memory = await settled()

        show(files=(files, later_files), memory=(memory, later_memory))
        # The connection of somebody who asked for numbers may end a moment later.
        await until(lambda: all(files_of(pid) <= files[pid] for pid in processes))
        assert later_memory - memory < 5 * MEGABYTE * len(processes)
        assert {*await gateway.pids(), gateway.process.pid} == processes
        for client in clients:
            assert "reply" in await client.ask(send={"ms": 0})
        async with gateway.http.get("/metrics") as answer:
            numbers = await answer.text()
        last = WARM_UP + RELOADS - 1
        assert set(re.findall(r'upstream="(\w+)"', numbers)) == {"app", f"passing{last}"}
        assert set(re.findall(r'route="(\w+)"', numbers)) == {"chat", f"r{last}"}


async def test_many_reloads_leave_no_task_and_no_object(php: PhpFpm) -> None:
    """Inside one process, where tasks can be counted."""
    async with Gateway(php) as gateway, gateway.crowd(10) as clients:

        async def reload(count: int) -> tuple[int, int]:
            for n in range(count):
                document = json.loads(json.dumps(gateway.document))
                document["upstreams"]["app"]["queue_size"] = 100 + n % 2
                document["upstreams"][f"passing{n}"] = document["upstreams"]["app"]
                route = {**document["routes"][0], "name": f"r{n}", "path": f"/r{n}"}
                document["routes"].append({**route, "upstream": f"passing{n}"})
                document["channels"] = [{"match": f"c{n}.*"}]
                config = parse(json.dumps(document), name="test.yaml", folder=Path())
                await gateway.worker.reload(config)
                assert await ask(clients[n % 10], f"echo {n};") == str(n)
            await gateway.until(lambda: not gateway.pool.idle)
            await asyncio.sleep(0)
            gc.collect()
            return len(asyncio.all_tasks()), len(gc.get_objects())

        tasks, objects = await reload(WARM_UP)
        later_tasks, later_objects = await reload(RELOADS)

    show(tasks=(tasks, later_tasks), objects=(objects, later_objects))
    assert later_tasks == tasks
    assert later_objects - objects < 100


async def test_a_worker_that_dies_while_it_reloads_comes_back_with_the_new_file(
    php: PhpFpm, tmp_path: Path
) -> None:
    async with Workers(php, tmp_path) as gateway:
        chat = gateway.config["routes"][0]

        async def routes() -> list[str]:
            _, status = await gateway.call("GET", "/status")
            return list(status["routes"])

        def reload(*names: str) -> None:
            more = [{**chat, "name": name, "path": f"/{name}/{{room}}"} for name in names]
            gateway.config["routes"] = [chat, *more]
            gateway.write()
            gateway.reload()

        _, status = await gateway.call("GET", "/status")
        victim = status["processes"][0]
        os.kill(victim["pid"], signal.SIGSTOP)
        reload("new")
        # The others serve it already; the supervisor waits for the one that is stopped.
        async with asyncio.timeout(10):
            while await routes() != ["chat", "new"]:
                pass
        reload("new", "newer")
        os.kill(victim["pid"], signal.SIGKILL)

        await gateway.logs("a worker did not reload", f"worker={victim['worker']}")
        # The second signal came while the first was obeyed, and is not lost.
        await gateway.logs("configuration reloaded", "'newer'")
        await gateway.all_serve()
        for _ in range(20):
            assert await routes() == ["chat", "new", "newer"]


def show(**before_and_after: tuple[object, object]) -> None:
    """Shown by `pytest -rP`: a long run is made for its numbers."""
    print(f"{RELOADS} reloads: {before_and_after}")  # noqa: T201


def files_of(pid: int) -> int:
    """How many files the process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def memory_of(pid: int) -> int:
    """Resident bytes of the process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
