"""One connection, seen through a pool, against an application that does what a test says."""

import asyncio
import contextlib
import socket
from typing import Any

import pytest

from fastcgi.address import UnixAddress
from fastcgi.connection import Connection
from fastcgi.endpoint import Endpoint
from fastcgi.errors import (
    Executed,
    RemoteProtocolError,
    RequestTimeoutError,
    ResponseTooLargeError,
    UpstreamDiedError,
    UpstreamOverloadedError,
    WriteTimeoutError,
)
from fastcgi.pool import Pool
from fastcgi.records import ProtocolStatus
from fastcgi.responder import encode_end, encode_stdout
from tests.fastcgi.exchanges import Recorder, ended, until
from tests.fastcgi.peer import HEAD, Application, Peer, answer


def submit(pool: Pool, body: bytes = b"", **options: Any) -> Recorder:
    exchange = Recorder("/app.php", body, **options)
    pool.submit(exchange)
    return exchange


async def test_a_kept_connection_carries_one_request_after_the_other(application, open_pool):
    pool = open_pool(application.address)
    first = submit(pool, b"one")
    peer = await application.accept()
    request = await peer.answer(b"1")
    await ended([first])
    assert (request.stdin, request.keep) == (b"one", True)
    assert request.params["CONTENT_LENGTH"] == "3"

    second = submit(pool, b"two")
    await peer.answer(b"2")
    await ended([second])

    assert (first.text, second.text) == ("1", "2")
    assert second.queued_at <= second.sent_at <= second.expires_at
    assert pool.statistics().connects == 1


async def test_a_large_body_uses_a_connection_once(application, open_pool):
    """PHP may leave it unread, and the next request would be read from its middle."""
    pool = open_pool(application.address, keepalive_max_body=4)
    small = submit(pool, b"1234")
    peer = await application.accept()
    assert (await peer.answer(b"")).keep
    await ended([small])
    large = submit(pool, b"12345")
    assert not (await peer.answer(b"")).keep
    await ended([large])
    await peer.ended()
    assert pool.statistics().open == 0


async def test_an_answer_one_byte_at_a_time_is_the_same_answer(application, open_pool):
    pool = open_pool(application.address)
    exchange = submit(pool)
    peer = await application.accept()
    await peer.request()
    for byte in answer(b"slow"):
        await peer.send(bytes([byte]))
        await asyncio.sleep(0)
    await ended([exchange])
    assert exchange.text == "slow"


async def test_an_answer_cut_at_any_byte_is_an_error_and_the_next_request_is_clean(
    application, open_pool
):
    whole = answer(b"whole")
    pool = open_pool(application.address, max_connections=1)
    for size in range(len(whole)):
        cut, clean = submit(pool), submit(pool)
        peer = await application.accept()
        await peer.request()
        await peer.send(whole[:size])
        peer.close()
        await ended([cut])
        assert isinstance(cut.error, UpstreamDiedError)
        assert cut.error.bytes_seen == size
        peer = await application.accept()
        await peer.answer(b"clean")
        await ended([clean])
        assert clean.text == "clean"
        peer.close()
        await until(lambda: pool.statistics().open == 0)
    assert pool.statistics().retries == {}


async def test_an_answer_that_lacks_only_padding_is_complete(application, open_pool):
    pool = open_pool(application.address)
    exchange = submit(pool)
    peer = await application.accept()
    await peer.request()
    await peer.send(encode_stdout(HEAD + b"ok") + encode_end(padding_size=8)[:-3])
    peer.close()
    await ended([exchange])
    assert exchange.text == "ok"
    assert pool.statistics().open == 0


@pytest.mark.parametrize("garbage", [b"\0" * 8, b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\2" * 300])
async def test_garbage_is_an_error_and_the_connection_is_closed(application, open_pool, garbage):
    pool = open_pool(application.address)
    exchange = submit(pool, idempotent=True)
    peer = await application.accept()
    await peer.request()
    await peer.send(garbage)
    await ended([exchange])
    assert isinstance(exchange.error, RemoteProtocolError)
    assert pool.statistics().open == 0


async def test_surplus_bytes_behind_an_answer_cost_the_connection(application, open_pool):
    pool = open_pool(application.address)
    exchange = submit(pool)
    peer = await application.accept()
    await peer.request()
    await peer.send(answer(b"ok") + b"x")
    await ended([exchange])
    assert exchange.text == "ok"
    assert pool.statistics().open == 0


async def test_a_body_beyond_the_limit_is_an_error(application, open_pool):
    pool = open_pool(application.address, max_response=10)
    exchange = submit(pool)
    await (await application.accept()).answer(b"x" * 11)
    await ended([exchange])
    assert isinstance(exchange.error, ResponseTooLargeError)
    assert pool.statistics().errors == {"ResponseTooLargeError": 1}


@pytest.mark.parametrize("event", ["data", "end"])
async def test_a_parked_connection_where_anything_happens_is_closed(application, open_pool, event):
    pool = open_pool(application.address)
    exchange = submit(pool)
    peer = await application.accept()
    await peer.answer(b"")
    await ended([exchange])
    if event == "data":
        await peer.send(b"x")
    else:
        peer.close()
    await until(lambda: pool.statistics().open == 0)


async def test_what_happens_to_a_parked_connection_is_seen_at_checkout(application, open_pool):
    """Also when the event loop has not been told yet."""
    pool = open_pool(application.address)
    exchange = submit(pool)
    peer = await application.accept()
    await peer.answer(b"")
    await ended([exchange])
    await until(lambda: pool.statistics().idle)
    peer.sock.send(b"x")

    following = submit(pool)

    assert pool.statistics().retries == {"checkout": 1}
    await (await application.accept()).answer(b"mine")
    await ended([following])
    assert following.text == "mine"


async def used_connection(application: Application, pool: Pool) -> Peer:
    exchange = submit(pool)
    peer = await application.accept()
    await peer.answer(b"")
    await ended([exchange])
    await until(lambda: pool.statistics().idle)
    return peer


async def test_a_request_that_a_retiring_child_discarded_is_sent_again(application, open_pool):
    """POLLRDHUP without POLLHUP: php-fpm at pm.max_requests."""
    pool = open_pool(application.address)
    peer = await used_connection(application, pool)
    exchange = submit(pool, b"again")
    peer.half_close()

    other = await application.accept()
    assert (await other.answer(b"done")).stdin == b"again"
    await ended([exchange])

    assert exchange.text == "done"
    assert exchange.attempts == 2
    assert pool.statistics().retries == {"half_closed": 1}


async def test_a_request_that_may_have_been_executed_is_not_sent_again(application, open_pool):
    """POLLHUP: both sides are closed, as by a child that died."""
    pool = open_pool(application.address)
    peer = await used_connection(application, pool)
    exchange = submit(pool)
    await peer.request()
    peer.close()
    await ended([exchange])
    assert isinstance(exchange.error, UpstreamDiedError)
    assert exchange.error.executed is Executed.MAYBE
    assert pool.statistics().retries == {}


async def test_a_reset_with_zero_bytes_is_no_proof(application, open_pool):
    pool = open_pool(application.address)
    peer = await used_connection(application, pool)
    exchange = submit(pool)
    await until(lambda: peer.sock.recv(1, socket.MSG_PEEK))
    peer.close()
    await ended([exchange])
    assert isinstance(exchange.error, UpstreamDiedError)
    assert pool.statistics().retries == {}


async def test_the_first_request_of_a_connection_is_not_sent_again(application, open_pool):
    pool = open_pool(application.address)
    exchange = submit(pool)
    peer = await application.accept()
    await peer.request()
    peer.half_close()
    await ended([exchange])
    assert isinstance(exchange.error, UpstreamDiedError)
    assert pool.statistics().retries == {}


async def test_once_a_byte_has_come_back_nothing_is_sent_again(application, open_pool):
    pool = open_pool(application.address)
    peer = await used_connection(application, pool)
    exchange = submit(pool, idempotent=True)
    await peer.request()
    await peer.send(answer(b"")[:1])
    peer.half_close()
    await ended([exchange])
    assert isinstance(exchange.error, UpstreamDiedError)
    assert pool.statistics().retries == {}


async def test_a_half_close_over_tcp_is_no_proof(start_application, open_pool):
    application = start_application(tcp=True)
    pool = open_pool(application.address)
    peer = await used_connection(application, pool)
    exchange = submit(pool)
    await peer.request()
    peer.half_close()
    await ended([exchange])
    assert isinstance(exchange.error, UpstreamDiedError)
    assert pool.statistics().retries == {}


async def test_a_send_that_is_refused_at_once_is_repeated_elsewhere(application, open_pool):
    """The waiter is handed a connection whose end came together with the answer."""
    pool = open_pool(application.address, max_connections=1)
    first, second = submit(pool), submit(pool)
    peer = await application.accept()
    await peer.answer(b"1")
    peer.close()
    await (await application.accept()).answer(b"2")
    await ended([first, second])
    assert (first.text, second.text) == ("1", "2")
    assert pool.statistics().retries in ({"broken_pipe": 1}, {})


async def test_an_overloaded_application_is_asked_three_times(application, open_pool):
    pool = open_pool(application.address)
    exchange = submit(pool)
    for _ in range(3):
        peer = await application.accept()
        await peer.request()
        await peer.send(encode_end(protocol_status=ProtocolStatus.OVERLOADED))
    await ended([exchange])
    assert isinstance(exchange.error, UpstreamOverloadedError)
    assert pool.statistics().retries == {"overloaded": 2}


async def test_an_overload_after_output_is_not_asked_again(application, open_pool):
    pool = open_pool(application.address)
    exchange = submit(pool)
    peer = await application.accept()
    await peer.request()
    await peer.send(encode_stdout(HEAD) + encode_end(protocol_status=ProtocolStatus.CANT_MPX_CONN))
    await ended([exchange])
    assert isinstance(exchange.error, UpstreamOverloadedError)
    assert pool.statistics().retries == {}


async def test_a_request_larger_than_the_socket_arrives_whole(application, open_pool):
    body = bytes(range(256)) * 12_000
    pool = open_pool(application.address)
    exchange = submit(pool, body)
    peer = await application.accept()
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    assert (await peer.answer(b"ok")).stdin == body
    await ended([exchange])
    assert exchange.text == "ok"


async def test_an_answer_before_the_request_is_out_is_valid(application, open_pool):
    """And the connection, which holds the rest of the request, is closed."""
    pool = open_pool(application.address)
    exchange = submit(pool, b"x" * 3_000_000)
    peer = await application.accept()
    await peer.send(answer(b"early"))
    await ended([exchange])
    assert exchange.text == "early"
    assert pool.statistics().open == 0


async def test_an_answer_before_a_peer_closes_is_valid_though_writing_fails(application, open_pool):
    pool = open_pool(application.address)
    exchange = submit(pool, b"x" * 3_000_000)
    peer = await application.accept()
    peer.sock.shutdown(socket.SHUT_RD)
    await peer.send(answer(b"early"))
    await ended([exchange])
    assert exchange.text == "early"


async def test_a_peer_that_stops_reading_meets_the_write_timeout(application, open_pool):
    pool = open_pool(application.address, write_timeout=0.1)
    exchange = submit(pool, b"x" * 3_000_000)
    peer = await application.accept()
    await ended([exchange])
    assert isinstance(exchange.error, WriteTimeoutError)
    assert exchange.error.seconds == 0.1
    assert pool.statistics().draining == 1
    # It learns that nothing more will come, and its close frees the place.
    assert await peer.ended()
    peer.close()
    await until(lambda: pool.statistics().open == 0)


async def test_an_unwritten_request_whose_time_is_up_is_a_write_timeout(application, open_pool):
    pool = open_pool(application.address)
    exchange = submit(pool, b"x" * 3_000_000, timeout=0.1)
    await application.accept()
    await ended([exchange])
    assert isinstance(exchange.error, WriteTimeoutError)


async def test_late_bytes_reach_nobody(application, open_pool):
    pool = open_pool(application.address, max_connections=1)
    late = submit(pool, timeout=0.1)
    peer = await application.accept()
    await peer.request()
    await ended([late])
    assert isinstance(late.error, RequestTimeoutError)
    following = submit(pool)
    await peer.send(answer(b"late"))
    assert await peer.ended() == b""
    assert following.callbacks == 0
    peer.close()
    await (await application.accept()).answer(b"mine")
    await ended([following])
    assert following.text == "mine"
    assert late.callbacks == 1


async def test_a_script_that_writes_without_end_for_nobody_is_cut_off(application, open_pool):
    """PHP ends a script whose output cannot be written."""
    pool = open_pool(application.address, max_response=100_000)
    late = submit(pool, timeout=0.05)
    peer = await application.accept()
    await peer.request()
    await ended([late])
    for _ in range(9):
        await peer.send(b"x" * 10_000)
    await asyncio.sleep(0.05)
    assert pool.statistics().draining == 1
    with pytest.raises(OSError, match=r"Broken pipe|reset"):
        await peer.send(b"x" * 10_000_000)
    assert pool.statistics().open == 0


async def test_an_answer_that_does_not_begin_meets_its_own_deadline(application, open_pool):
    pool = open_pool(application.address, first_byte_timeout=0.1)
    silent, begun = submit(pool), submit(pool, timeout=0.4)
    peers = [await application.accept(), await application.accept()]
    for peer in peers:
        await peer.request()
    await peers[1].send(answer(b"")[:1])
    await ended([silent, begun])
    assert isinstance(silent.error, RequestTimeoutError)
    assert isinstance(begun.error, RequestTimeoutError)
    assert (silent.error.seconds, begun.error.seconds) == (0.1, 0.4)


async def test_a_cancelled_request_is_still_written_whole(application, open_pool):
    """PHP executes a body cut short as it is."""
    body = b"x" * 3_000_000
    pool = open_pool(application.address)
    exchange = submit(pool, body)
    peer = await application.accept()
    assert pool.cancel(exchange)
    assert (await peer.request()).stdin == body
    assert await peer.ended() == b""
    peer.close()
    await until(lambda: pool.statistics().open == 0)
    assert exchange.callbacks == 0


async def test_a_cancelled_request_nobody_reads_ends_at_the_write_timeout(application, open_pool):
    pool = open_pool(application.address, write_timeout=0.1)
    exchange = submit(pool, b"x" * 3_000_000)
    peer = await application.accept()
    assert pool.cancel(exchange)
    await asyncio.sleep(0.2)
    assert await peer.ended()
    peer.close()
    await until(lambda: pool.statistics().open == 0)


async def test_streamed_bodies_come_in_pieces_and_stop_after_a_cancellation(application, open_pool):
    pool = open_pool(application.address)
    exchange = submit(pool, stream=True)
    peer = await application.accept()
    await peer.request()
    await peer.send(encode_stdout(HEAD + b"one"))
    await until(lambda: exchange.chunks)
    assert pool.cancel(exchange)
    await peer.send(encode_stdout(b"two") + encode_end())
    peer.close()
    await until(lambda: pool.statistics().open == 0)
    assert exchange.chunks == [b"one"]


async def test_a_streamed_body_waits_while_its_receiver_cannot_take_more(application, open_pool):
    pool = open_pool(application.address, max_connections=1)
    exchange = submit(pool, stream=True)
    peer = await application.accept()
    await peer.request()
    await peer.send(encode_stdout(HEAD + b"one"))
    await until(lambda: exchange.chunks)
    carrier = exchange.carrier
    assert carrier.head is not None
    assert carrier.head.status == 200

    carrier.pause()
    carrier.pause()
    await peer.send(encode_stdout(b"two") + encode_end())
    await asyncio.sleep(0.1)
    assert exchange.chunks == [b"one"]

    carrier.resume()
    carrier.resume()
    await ended([exchange])
    assert exchange.chunks == [b"one", b"two"]
    carrier.pause()
    assert carrier.head is None
    following = submit(pool)
    await peer.answer(b"next")
    await ended([following])
    assert following.text == "next"


async def test_a_receiver_that_cancels_in_the_midst_of_a_body_hears_no_more(application, open_pool):
    pool = open_pool(application.address)
    exchange = submit(pool, stream=True)

    class Cancelling(list[bytes]):
        def append(self, chunk: bytes) -> None:
            super().append(chunk)
            pool.cancel(exchange)

    exchange.chunks = Cancelling()
    peer = await application.accept()
    await peer.request()
    await peer.send(encode_stdout(HEAD + b"one") + encode_stdout(b"two") + encode_end())
    await until(lambda: exchange.chunks)
    peer.close()
    await until(lambda: pool.statistics().open == 0)
    assert exchange.chunks == [b"one"]
    assert exchange.callbacks == 0


class Silent:
    """An owner that only remembers."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def answered(self, connection, exchange, response) -> None:
        self.heard.append("answered")

    def broken(self, connection, error, retry) -> None:
        self.heard.append("broken")


@pytest.fixture
def pair():
    """A connection without a pool, and the other end of its socket."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        yield ours, theirs


def make_connection(ours: socket.socket) -> tuple[Connection, Silent]:
    owner = Silent()
    endpoint = Endpoint(UnixAddress("/app.sock"))
    loop = asyncio.get_running_loop()
    return Connection(ours, endpoint, owner, loop=loop, max_response=100), owner


async def test_a_peer_without_room_for_one_byte_gets_the_request_later(pair):
    ours, theirs = pair
    connection, _ = make_connection(ours)
    filling = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filling += ours.send(b"x" * 100)
    assert connection.send(Recorder("/app.php"), b"request", 0.0, keep=True)
    assert bytes(connection._pending) == b"request"
    # Writable, but for somebody else's turn: nothing is lost when the kernel says not yet.
    connection._on_writable()
    while filling:
        filling -= len(theirs.recv(filling))
    await asyncio.sleep(0.01)
    assert theirs.recv(100) == b"request"
    connection.close()


async def test_readiness_without_data_is_no_end(pair):
    connection, owner = make_connection(pair[0])
    connection._on_readable()
    assert owner.heard == []
    connection.close()


async def test_a_reset_of_a_connection_that_carries_nothing_ends_it(pair):
    ours, theirs = pair
    connection, owner = make_connection(ours)
    ours.send(b"never read")
    theirs.close()
    await until(lambda: owner.heard)
    assert owner.heard[0] == "broken"
    connection.close()


async def test_a_peer_that_reads_no_more_may_still_answer(pair):
    ours, theirs = pair
    connection, _ = make_connection(ours)
    assert connection.send(Recorder("/app.php"), b"x" * 3_000_000, 0.0, keep=True)
    theirs.shutdown(socket.SHUT_RD)
    theirs.recv(1_000_000)
    await until(lambda: not connection._pending)
    connection.close()
