"""The pool as its callers see it: the queue, deadlines, several addresses, the end."""

import asyncio
import socket

import pytest

from fastcgi import connecting
from fastcgi.address import TcpAddress, UnixAddress
from fastcgi.errors import (
    AddressForbiddenError,
    Executed,
    LocalProtocolError,
    PoolClosedError,
    QueueFullError,
    QueueTimeoutError,
    UpstreamUnavailableError,
)
from fastcgi.limits import PoolStatistics
from fastcgi.pool import Pool
from tests.fastcgi.exchanges import Recorder, ended, parameters, until
from tests.fastcgi.peer import Application, answer


def submit(pool: Pool, body: bytes = b"", **options) -> Recorder:
    exchange = Recorder("/app.php", body, **options)
    pool.submit(exchange)
    return exchange


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_a_request_can_be_awaited(application, open_pool):
    pool = open_pool(application.address)
    task = asyncio.create_task(
        pool.request(parameters("/app.php", b"hi"), b"hi", timeout=5, script="/app.php")
    )
    peer = await application.accept()
    assert (await peer.answer(b"there")).stdin == b"hi"
    assert (await task).body == b"there"


async def test_a_failure_is_raised_where_it_is_awaited(application, open_pool):
    pool = open_pool(application.address)
    task = asyncio.create_task(
        pool.request(parameters("/app.php"), b"", timeout=0.05, script="/app.php")
    )
    await application.accept()
    with pytest.raises(Exception, match=r"no complete response within 0.05 s"):
        await task


async def test_an_answer_to_somebody_who_has_just_left_is_dropped(application, open_pool):
    """The future is cancelled, its waiter has not run yet, and the callback comes in between."""
    pool = open_pool(application.address)
    for fail in (False, True):
        task = asyncio.create_task(
            pool.request(parameters("/app.php"), b"", timeout=5, script="/app.php")
        )
        peer = await application.accept()
        await peer.request()
        (connection,) = pool._connections
        exchange = connection.exchange
        task.cancel()
        if fail:
            exchange.future.cancel()
            exchange.on_failure(PoolClosedError())
        else:
            exchange.future.cancel()
            exchange.on_response(None)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert pool.statistics().draining == 1
        peer.close()
        await until(lambda: pool.statistics().open == 0)


async def test_a_full_queue_refuses_at_once_and_calls_nobody(application, open_pool):
    pool = open_pool(application.address, max_connections=1, queue_size=2)
    made = [submit(pool) for _ in range(3)]
    refused = Recorder("/app.php")
    with pytest.raises(QueueFullError) as caught:
        pool.submit(refused)
    assert (caught.value.waiting, caught.value.limit) == (2, 2)
    peer = await application.accept()
    for _ in made:
        await peer.answer(b"")
    await ended(made)
    assert refused.callbacks == 0
    assert pool.statistics().errors == {"QueueFullError": 1}


async def test_who_waits_too_long_fails_by_name(application, open_pool):
    clock = Clock()
    pool = open_pool(application.address, max_connections=1, queue_timeout=10, clock=clock)
    busy = submit(pool, timeout=60)
    clock.now += 5
    late = submit(pool)
    clock.now += 9
    await asyncio.sleep(0.1)
    assert late.callbacks == 0
    assert pool.statistics().oldest_wait == 9
    clock.now += 1
    await ended([late])
    assert isinstance(late.error, QueueTimeoutError)
    assert late.error.seconds == 10
    assert late.error.executed is Executed.NEVER
    assert busy.callbacks == 0


async def test_somebody_may_hear_that_a_request_has_to_wait(application, open_pool):
    pool = open_pool(application.address, max_connections=1)
    heard: list[int] = []
    pool.on_queued = lambda: heard.append(pool.statistics().waiting)
    made = [submit(pool) for _ in range(3)]
    peer = await application.accept()
    for _ in made:
        await peer.answer(b"")
    await ended(made)
    assert heard == [1, 1, 2]


async def test_waiters_are_served_in_their_order(application, open_pool):
    pool = open_pool(application.address, max_connections=1)
    made = [submit(pool, b"%d" % number) for number in range(20)]
    peer = await application.accept()
    seen = [(await peer.answer(b"")).stdin for _ in made]
    assert seen == [b"%d" % number for number in range(20)]
    await ended(made)


async def test_one_who_leaves_the_queue_is_never_sent(application, open_pool):
    pool = open_pool(application.address, max_connections=1)
    first, left, last = (submit(pool, body) for body in (b"1", b"2", b"3"))
    assert pool.cancel(left)
    assert not pool.cancel(left)
    peer = await application.accept()
    assert [(await peer.answer(b"")).stdin for _ in range(2)] == [b"1", b"3"]
    await ended([first, last])
    assert not pool.cancel(first)
    assert left.callbacks == 0


async def test_callbacks_that_raise_harm_nobody_else(application, open_pool):
    told = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))

    def burst(_):
        raise ZeroDivisionError

    pool = open_pool(application.address, max_connections=1)
    first, second = submit(pool, then=burst), submit(pool)
    peer = await application.accept()
    await peer.answer(b"1")
    await peer.answer(b"2")
    await ended([first, second])
    assert second.text == "2"
    failing = submit(pool, timeout=0.01, then=burst)
    await ended([failing])
    assert [type(error) for error in told] == [ZeroDivisionError, ZeroDivisionError]
    assert pool.statistics().draining == 1


async def test_a_body_receiver_that_raises_ends_its_own_request_only(application, open_pool):
    told = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context["message"]))
    pool = open_pool(application.address, max_connections=1)
    broken = submit(pool, stream=True)
    broken.chunks = None  # type: ignore[assignment]
    following = submit(pool)
    await (await application.accept()).answer(b"1")
    await (await application.accept()).answer(b"2")
    await ended([broken, following])
    assert "receiver" in str(broken.error)
    assert following.text == "2"
    assert told == ["Exchange.on_body raised"]


async def test_a_request_made_from_a_callback_uses_the_connection_about_to_be_free(
    application, open_pool
):
    pool = open_pool(application.address, max_connections=4)
    second: list[Recorder] = []
    first = submit(pool, then=lambda _: second.append(submit(pool)))
    peer = await application.accept()
    await peer.answer(b"1")
    await peer.answer(b"2")
    await ended([first])
    await ended(second)
    assert pool.statistics().connects == 1


async def test_a_request_that_cannot_be_encoded_fails_and_the_connection_stays(
    application, open_pool
):
    pool = open_pool(application.address, max_connections=1)
    bad = Recorder("/app.php")
    bad.params = (b"\xff" * 70_000,)
    pool.submit(bad)
    good = submit(pool)
    assert bad.callbacks == 0
    await (await application.accept()).answer(b"ok")
    await ended([bad, good])
    assert isinstance(bad.error, LocalProtocolError)
    assert good.text == "ok"
    assert pool.statistics().connects == 1


async def test_a_connection_that_has_not_settled_is_looked_at_again(application, open_pool):
    """The peer has answered, but has not read the end of the request."""
    pool = open_pool(application.address, max_connections=1)
    first, second = submit(pool, b"x" * 1000), submit(pool)
    peer = await application.accept()
    await until(lambda: peer.sock.recv(4096, socket.MSG_PEEK))
    await peer.send(answer(b"early"))
    await ended([first])
    assert pool.statistics().settling == 1
    await asyncio.sleep(0.01)
    assert second.callbacks == 0
    await peer.request()
    await peer.answer(b"2")
    await ended([second])
    assert pool.statistics().connects == 1


async def test_a_lower_limit_closes_idle_connections_and_lets_busy_ones_finish(
    application, open_pool
):
    pool = open_pool(application.address, max_connections=3, idle_timeout=60)
    made = [submit(pool) for _ in range(3)]
    peers = [await application.accept() for _ in made]
    await peers[0].answer(b"")
    await ended(made[:1])
    await until(lambda: pool.statistics().idle == 1)

    pool.set_limit(1)

    assert pool.statistics().open == 2
    for peer in peers[1:]:
        await peer.answer(b"")
    await ended(made)
    await until(lambda: pool.statistics().open == 1)


async def test_a_higher_limit_serves_who_waits(application, open_pool):
    pool = open_pool(application.address, max_connections=0)
    waiting = submit(pool)
    assert pool.statistics().open == 0
    pool.set_limit(1)
    await (await application.accept()).answer(b"")
    await ended([waiting])


async def test_the_ticking_stops_when_nothing_is_left(application, open_pool):
    pool = open_pool(application.address, idle_timeout=0.05)
    exchange = submit(pool)
    await (await application.accept()).answer(b"")
    await ended([exchange])
    await until(lambda: pool._ticker is None)
    assert pool.statistics().open == 0


async def test_draining_answers_everybody_and_takes_no_more(application, open_pool):
    pool = open_pool(application.address, max_connections=1)
    made = [submit(pool), submit(pool)]
    draining = asyncio.create_task(pool.drain(10))
    await asyncio.sleep(0)
    with pytest.raises(PoolClosedError):
        submit(pool)
    peer = await application.accept()
    for _ in made:
        await peer.answer(b"ok")
    assert await draining
    assert [exchange.text for exchange in made] == ["ok", "ok"]
    assert pool.statistics().open == 0


async def test_draining_an_idle_pool_ends_at_once(application, open_pool):
    pool = open_pool(application.address)
    assert await pool.drain(10)
    assert await pool.drain(10)


async def test_draining_too_long_fails_the_rest_by_name(application, open_pool):
    pool = open_pool(application.address, max_connections=1)
    begun, waiting = submit(pool), submit(pool)
    await application.accept()
    assert not await pool.drain(0.05)
    assert isinstance(begun.error, PoolClosedError)
    assert isinstance(waiting.error, PoolClosedError)
    assert begun.error.executed is Executed.MAYBE
    assert waiting.error.executed is Executed.NEVER


async def test_the_last_one_who_leaves_ends_the_draining(application, open_pool):
    pool = open_pool(application.address)
    exchange = submit(pool)
    await application.accept()
    draining = asyncio.create_task(pool.drain(10))
    await asyncio.sleep(0)
    assert pool.cancel(exchange)
    assert await draining


async def test_closing_ends_attempts_to_connect(start_application, open_pool):
    application = start_application(backlog=0)
    pool = open_pool(application.address)
    made = [submit(pool) for _ in range(4)]
    assert pool.statistics().connecting
    await pool.close()
    assert all(isinstance(exchange.error, PoolClosedError) for exchange in made)
    assert pool.statistics().open == 0


async def test_closing_ends_what_was_planned(application, open_pool):
    """A look at settling connections was due."""
    pool = open_pool(application.address, max_connections=1)
    first, second = submit(pool, b"x"), submit(pool)
    peer = await application.accept()
    await peer.send(answer(b"early"))
    await ended([first])
    await pool.close()
    assert isinstance(second.error, PoolClosedError)


async def test_a_full_backlog_is_waited_for(start_application, open_pool):
    """A non-blocking connect to a unix socket answers EAGAIN at once."""
    application: Application = start_application(backlog=0)
    pool = open_pool(application.address, connect_timeout=5)
    made = [submit(pool) for _ in range(3)]
    assert pool.statistics().connecting >= 1
    await asyncio.sleep(0.05)
    peers = [await application.accept() for _ in made]
    for peer in peers:
        await peer.answer(b"ok")
    await ended(made)
    assert pool.statistics().errors == {}


async def test_a_backlog_that_stays_full_makes_the_address_unavailable(
    start_application, open_pool
):
    application = start_application(backlog=0)
    pool = open_pool(application.address, connect_timeout=0.05, retry_for=0.0, max_connections=2)
    blocker = socket.socket(socket.AF_UNIX)
    blocker.connect(application.address.path)
    waiting = submit(pool)
    await ended([waiting])
    blocker.close()
    assert isinstance(waiting.error, UpstreamUnavailableError)
    assert "backlog" in waiting.error.reason


async def test_a_missing_socket_is_waited_for_and_reported_once(tmp_path, open_pool):
    told = []
    address = UnixAddress(str(tmp_path / "php.sock"))
    pool = open_pool(address, retry_for=10, on_address=lambda *what: told.append(what))
    exchange = submit(pool)
    assert pool.statistics().away == (str(address),)
    await until(lambda: pool._slots.endpoints[0].failures > 1)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address.path)
        listener.listen()
        listener.setblocking(False)
        await until(lambda: pool.statistics().busy)
        assert [error and error.reason for _, error in told] == ["No such file or directory", None]
        assert exchange.callbacks == 0


async def test_several_waiters_fail_with_errors_of_their_own(tmp_path, open_pool):
    pool = open_pool(UnixAddress(str(tmp_path / "php.sock")), retry_for=0.0)
    made = [submit(pool), submit(pool)]
    assert [exchange.callbacks for exchange in made] == [0, 0]
    await ended(made)
    assert made[0].error is not made[1].error
    assert str(made[0].error) == str(made[1].error)


async def test_an_address_that_closes_every_connection_does_not_make_us_spin(
    application, open_pool, monkeypatch
):
    clock = Clock()
    pool = open_pool(application.address, retry_for=5, queue_timeout=10, clock=clock)
    monkeypatch.setattr("fastcgi.connection.Connection.is_clean", lambda _: False)
    exchange = submit(pool)
    assert pool.statistics().connects == 1
    assert pool.statistics().retries == {"checkout": 1}
    clock.now += 11
    await ended([exchange])
    assert isinstance(exchange.error, (QueueTimeoutError, UpstreamUnavailableError))


async def test_no_rights_to_the_socket_are_said_at_once(application, open_pool, monkeypatch):
    def forbid(address):
        raise connecting.translate(address, PermissionError(13, "Permission denied"))

    monkeypatch.setattr("fastcgi.opener.connect_unix", forbid)
    pool = open_pool(application.address, retry_for=60)
    exchange = submit(pool)
    await ended([exchange], 5)
    assert isinstance(exchange.error, AddressForbiddenError)
    assert "Permission denied" in str(exchange.error)


async def test_a_host_is_resolved_and_connected(start_application, open_pool):
    application = start_application(tcp=True)
    pool = open_pool(TcpAddress("localhost", application.address.port))
    exchange = submit(pool)
    await (await application.accept()).answer(b"ok")
    await ended([exchange])
    assert exchange.text == "ok"


async def test_a_host_without_an_address_is_unavailable(open_pool, monkeypatch):
    async def nothing(*_args):
        return []

    monkeypatch.setattr("fastcgi.connecting._resolve", nothing)
    pool = open_pool(TcpAddress("php", 9000), retry_for=0.0)
    exchange = submit(pool)
    await ended([exchange])
    assert isinstance(exchange.error, UpstreamUnavailableError)
    assert "no address" in str(exchange.error)


async def test_a_name_nobody_knows_is_unavailable(open_pool):
    pool = open_pool(TcpAddress("php.invalid", 9000), retry_for=0.0, connect_timeout=5)
    exchange = submit(pool)
    await ended([exchange])
    assert isinstance(exchange.error, UpstreamUnavailableError)


async def test_a_host_that_does_not_answer_is_unavailable(open_pool, monkeypatch):
    async def never(*_args):
        await asyncio.sleep(3600)

    monkeypatch.setattr("fastcgi.connecting._connect_to", never)
    pool = open_pool(TcpAddress("127.0.0.1", 9), retry_for=0.0, connect_timeout=0.05)
    exchange = submit(pool)
    await ended([exchange])
    assert isinstance(exchange.error, UpstreamUnavailableError)
    assert "too long" in str(exchange.error)


async def test_every_address_of_a_host_is_tried(start_application, open_pool, monkeypatch):
    application = start_application(tcp=True)
    port = application.address.port

    async def both(*_args):
        return [(socket.AF_INET, ("127.0.0.2", port)), (socket.AF_INET, ("127.0.0.1", port))]

    monkeypatch.setattr("fastcgi.connecting._resolve", both)
    pool = open_pool(TcpAddress("php", port), retry_for=0.0)
    exchange = submit(pool)
    await (await application.accept()).answer(b"ok")
    await ended([exchange])


async def test_running_out_of_descriptors_is_waited_out(application, open_pool, monkeypatch):
    calls = []
    real = socket.socket

    def scarce(*args):
        calls.append(args)
        if len(calls) == 1:
            raise OSError(24, "Too many open files")
        return real(*args)

    monkeypatch.setattr("fastcgi.connecting.socket.socket", scarce)
    pool = open_pool(application.address, retry_for=5)
    exchange = submit(pool)
    monkeypatch.undo()
    await (await application.accept()).answer(b"ok")
    await ended([exchange])
    assert len(calls) == 1


def test_statistics_tell_how_many_connections_are_open():
    fields = dict.fromkeys(PoolStatistics.__dataclass_fields__, 0)
    counted = {**fields, "idle": 1, "busy": 2, "settling": 3, "draining": 4, "connecting": 5}
    assert PoolStatistics(**counted).open == 15  # type: ignore[arg-type]
