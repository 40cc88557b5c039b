"""Three real worker processes around one hub: what works with one works with all of them."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.phpfpm import PhpFpm, find_php_fpm
from tests.workers import Client, Workers, alive, until


@pytest.fixture(scope="module")
def php() -> Iterator[PhpFpm]:
    if find_php_fpm() is None:
        pytest.skip("no php-fpm on this machine")
    with PhpFpm(max_children=12) as server:
        yield server


@pytest.fixture
async def gateway(php: PhpFpm, tmp_path: Path) -> AsyncIterator[Workers]:
    async with Workers(php, tmp_path) as gateway:
        yield gateway


@pytest.mark.parametrize("workers", [1, 3])
async def test_every_call_works_from_any_worker_to_any_other(php, tmp_path, workers) -> None:
    async with Workers(php, tmp_path, workers=workers) as gateway:
        await use_everything(gateway, workers)


async def use_everything(gateway: Workers, workers: int) -> None:
    """With the same results, order and codes however many workers there are."""
    by_worker = await gateway.spread(workers=workers)
    by_worker[(await gateway.connect()).node].append(gateway.clients[-1])
    clients = [client for group in by_worker.values() for client in group]

    # A publication reaches everybody, whoever is asked to publish it.
    for n in range(4):
        status, receipt = await gateway.call("POST", "/channels/room.1", b'{"n":%d}' % n)
        assert (status, receipt["subscribers"], receipt["offset"]) == (201, len(clients), n + 1)
    for client in clients:
        offsets: list[int] = []
        while len(offsets) < 4:
            heard = await client.until(lambda each: "offset" in each)
            offsets.append(heard["offset"])
        assert offsets == [1, 2, 3, 4]

    # A push, a state, a join, a leave and a close reach a connection wherever it is held.
    for group in by_worker.values():
        client = group[0]
        path = f"/connections/{client.id}"
        assert (await gateway.call("POST", path, b'{"pushed":1}'))[0] == 200
        assert await client.until(lambda each: "pushed" in json.dumps(each))
        assert (await gateway.call("GET", path))[1]["channels"] == ["room.1"]
        assert (await gateway.call("POST", f"{path}/channels/room.2"))[0] == 200
        assert (await gateway.call("GET", "/channels/room.2"))[1]["subscribers"] == 1
        assert (await gateway.call("DELETE", f"{path}/channels/room.2"))[0] == 200

    # Presence and listing are those of the whole gateway.
    _, presence = await gateway.call("GET", "/channels/room.1/presence")
    assert {each["id"] for each in presence["clients"]} == {client.id for client in clients}
    assert (await gateway.metric("wsgate_channels ")) >= 1
    assert (await gateway.metric("wsgate_connections ")) == len(clients)
    _, status = await gateway.call("GET", "/status")
    assert status["workers"] == workers
    assert status["totals"]["connections"] == len(clients)

    # Who publishes may leave itself out, also where others are held elsewhere.
    first, second = clients[0], clients[-1]
    published = await first.ask(publish="room.1", data="hello")
    assert published["published"]["offset"] == 5
    assert (await second.until(lambda each: each.get("data") == "hello"))["offset"] == 5

    # Unknown and gone connections answer the same from every worker.
    victim = clients[0]
    assert (await gateway.call("DELETE", f"/connections/{victim.id}?code=4001"))[0] == 200
    assert await victim.closed() == 4001
    for _ in range(4):
        assert (await gateway.call("GET", f"/connections/{victim.id}"))[0] == 410
        assert (await gateway.call("GET", "/connections/nonsense"))[0] == 404
        assert (await gateway.call("GET", f"/connections/{'A' * 32}"))[0] == 410

    # A channel closed by one is closed for all.
    assert (await gateway.call("DELETE", "/channels/room.1"))[0] == 200
    for client in clients:
        if client is not victim:
            assert await client.closed() == 4410


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV], ids=lambda how: how.name)
async def test_a_dead_worker_takes_only_its_own_connections(gateway, how) -> None:
    by_worker = await gateway.spread()
    # As old as a replacement will not be when it is asked.
    async with asyncio.timeout(10):
        while await gateway.uptime() < 3:
            pass
    await gateway.call("POST", "/channels/room.1", b'"before"')
    node, lost = next(iter(by_worker.items()))
    _, state = await gateway.call("GET", f"/connections/{lost[0].id}")
    kept = [client for other, group in by_worker.items() if other != node for client in group]
    while len({len(group) for group in by_worker.values()}) < 3 or len(lost) in {
        len(group) for other, group in by_worker.items() if other != node
    }:
        client = await gateway.connect()
        by_worker.setdefault(client.node, []).append(client)
        if client.node != node:
            kept.append(client)
    before = await gateway.pids()
    pid = await gateway.pid_of(len(lost))
    served = await gateway.uptime()

    os.kill(pid, how)

    for client in lost:
        await client.closed()
    # Clients may see the end of a process before its parent does.
    await gateway.logs("worker died")
    await gateway.all_serve()
    assert len(set(before) & set(await gateway.pids())) == 2
    assert await gateway.metric("wsgate_worker_restarts_total") == 1
    # Whichever worker is asked, it is the gateway's age and not its own.
    for _ in range(40):
        assert await gateway.uptime() >= served

    # PHP hears of every connection it held, and of no other.
    gone = {client.id for client in lost}
    await until(lambda: len(gateway.disconnects()) >= len(gone))
    assert {each["id"] for each in gateway.disconnects()} == gone
    assert all(
        each["end"] == {"code": 1006, "reason": "", "clean": False}
        for each in gateway.disconnects()
    )

    # They have left presence; the others keep theirs, the channel, the history.
    _, presence = await gateway.call("GET", "/channels/room.1/presence")
    assert {each["id"] for each in presence["clients"]} == {client.id for client in kept}
    _, receipt = await gateway.call("POST", "/channels/room.1", b'"after"')
    assert (receipt["subscribers"], receipt["offset"]) == (len(kept), 2)
    for client in kept:
        await client.until(lambda each: each.get("data") == "after")
    assert state["route"] == "chat"
    # Whoever comes back lands with any worker and resumes.
    back = await gateway.connect("other")
    position = {"offset": 0, "epoch": receipt["epoch"]}
    answer = await back.ask(subscribe="room.1", since=position)
    assert answer["recovered"]
    assert [each["data"] for each in answer["publications"]] == ["before", "after"]


async def test_a_worker_that_keeps_dying_is_told_and_nobody_waits_for_it(gateway) -> None:
    killed = 0

    async def victim() -> int | None:
        _, status = await gateway.call("GET", "/status")
        return status["processes"][0]["pid"] or None

    async with asyncio.timeout(60):
        while killed < 6:
            pid = await victim()
            if pid is None:
                await asyncio.sleep(0.05)
                continue
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
            await gateway.logs("worker died", count=killed)
        status, health = await gateway.call("GET", "/health/ready")

    assert status == 503
    assert health["reasons"] == ["worker 1 keeps dying (6 times in a row)"]
    # Its sockets are closed meanwhile: the kernel gives everybody to the two that serve.
    clients = [await gateway.connect() for _ in range(12)]
    assert len({client.node for client in clients}) == 2
    await gateway.all_serve()
    assert len(await gateway.spread()) == 3


async def test_a_worker_that_hangs_is_replaced(php, tmp_path) -> None:
    async with Workers(php, tmp_path, watchdog=2) as gateway:
        pid = (await gateway.pids())[0]

        os.kill(pid, signal.SIGSTOP)

        await gateway.logs("worker is silent", f"pid={pid}")
        await gateway.logs("worker died", f"pid={pid}")
        await gateway.all_serve()
        assert pid not in await gateway.pids()


async def test_a_silent_worker_does_not_hang_the_numbers(gateway) -> None:
    pid = (await gateway.pids())[0]
    os.kill(pid, signal.SIGSTOP)
    try:
        # Whichever worker a caller would have got: one queue serves the internal address.
        for _ in range(6):
            async with asyncio.timeout(10):
                await gateway.metric("wsgate_connections ")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


async def test_workers_drain_when_the_supervisor_dies(gateway) -> None:
    by_worker = await gateway.spread()
    pids = await gateway.pids()

    gateway.process.kill()

    for group in by_worker.values():
        for client in group:
            assert await client.closed() == 1012
    await until(lambda: not any(map(alive, pids)))


async def test_a_reload_changes_what_it_can_and_drops_nobody(gateway) -> None:
    by_worker = await gateway.spread()
    good = dict(gateway.config)
    gateway.write("listen: 127.0.0.1:1\nroutes:\n  - path: 7\n    nonsense: 1\n")
    gateway.reload()
    await gateway.logs("reload refused")
    await gateway.logs("wsgate.yaml:3: routes[0].path")

    gateway.config["routes"] = [{**good["routes"][0], "name": "new", "path": "/new/{room}"}]
    gateway.config["routes"] += good["routes"]
    gateway.config["workers"] = 7
    gateway.write()
    gateway.reload()
    await gateway.logs("configuration reloaded")
    assert "workers" in await gateway.logs("change needs a restart")

    for _ in range(6):
        _, status = await gateway.call("GET", "/status")
        assert status["routes"] == ["new", "chat"]
        assert len(status["processes"]) == 3
    for group in by_worker.values():
        for client in group:
            assert "reply" in await client.ask(send={"ms": 0})
    os.kill((await gateway.pids())[0], signal.SIGKILL)
    await gateway.logs("worker died")
    await gateway.all_serve()
    for _ in range(6):
        assert (await gateway.call("GET", "/status"))[1]["routes"] == ["new", "chat"]


async def test_the_cap_of_an_upstream_is_kept_by_all_and_used_by_one(php, tmp_path) -> None:
    async with Workers(php, tmp_path, max_connections=4) as gateway:
        by_worker = await gateway.spread()

        async def work(client, count: int, ms: int) -> list[tuple[float, float]]:
            for n in range(count):
                await client.socket.send(json.dumps({"id": n, "send": {"ms": ms}}))
            replies = [await client.until(lambda each: "reply" in each) for _ in range(count)]
            return [(each["reply"]["began"], each["reply"]["ended"]) for each in replies]

        groups = [group[0] for group in by_worker.values()]
        everybody = await asyncio.gather(*(work(client, 12, 30) for client in groups))
        spans = [span for each in everybody for span in each]
        assert at_once(spans) <= 4

        alone = await work(groups[0], 60, 50)
        assert at_once(alone) == 4
        again = await asyncio.gather(*(work(client, 12, 30) for client in groups))
        assert at_once([span for each in again for span in each]) <= 4


def at_once(spans: list[tuple[float, float]]) -> int:
    """How many ran at the same time, at most."""
    steps = sorted([(began, 1) for began, _ in spans] + [(ended, -1) for _, ended in spans])
    most = now = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    return most


async def test_limits_of_clients_count_all_workers(php, tmp_path) -> None:
    async with Workers(php, tmp_path, client={"max_connections_per_ip": 5}) as gateway:

        async def attempts(count: int) -> list[Client | BaseException]:
            return await asyncio.gather(
                *(gateway.connect() for _ in range(count)), return_exceptions=True
            )

        outcomes = await attempts(15)
        let_in = [each for each in outcomes if not isinstance(each, BaseException)]
        assert len(let_in) == 5
        assert all("429" in str(each) for each in outcomes if isinstance(each, BaseException))

        await let_in[0].socket.close()
        async with asyncio.timeout(10):
            while isinstance((await attempts(1))[0], BaseException):
                pass
        assert isinstance((await attempts(1))[0], BaseException)


async def test_sigterm_answers_what_runs_and_tells_clients_to_come_back(gateway) -> None:
    by_worker = await gateway.spread()
    clients = [client for group in by_worker.values() for client in group]
    for client in clients:
        await client.socket.send(json.dumps({"id": "last", "send": {"ms": 600}}))
    await asyncio.sleep(0.2)
    pids = await gateway.pids()

    gateway.process.terminate()

    await until(lambda: refuses(gateway.port))
    status, health = await gateway.call("GET", "/health/ready")
    assert (status, health["reasons"]) == (503, ["shutting down"])
    for client in clients:
        answer = await client.until(lambda each: each.get("id") == "last")
        assert "reply" in answer
        assert await client.closed() == 1012
    assert await asyncio.wait_for(gateway.process.wait(), 15) == 0
    assert not any(map(alive, pids))
    assert {each["id"] for each in gateway.disconnects()} == {client.id for client in clients}
    assert all(each["end"]["code"] == 1012 for each in gateway.disconnects())


async def test_a_second_signal_ends_it_at_once(gateway) -> None:
    client = await gateway.connect()
    await client.socket.send(json.dumps({"id": 1, "send": {"ms": 8000}}))
    await asyncio.sleep(0.2)
    gateway.process.terminate()
    await gateway.logs("draining", count=3)

    began = time.monotonic()
    gateway.process.terminate()
    await asyncio.wait_for(gateway.process.wait(), 5)

    # It promises a second; the machine may be busy.
    assert time.monotonic() - began < 4


def refuses(port: int) -> bool:
    """Whether nobody listens there any more."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
