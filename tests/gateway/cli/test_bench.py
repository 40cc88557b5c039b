"""`wsgate bench` against small servers whose behaviour is known."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSMsgType, web
from click.testing import CliRunner, Result

from gateway.cli import bench_clients
from gateway.cli.bench import command
from gateway.cli.bench_clients import AiohttpOpener, Opener, PicowsOpener
from gateway.cli.bench_limit import Step, find_limit
from gateway.cli.bench_load import Counts, error_type
from gateway.cli.histogram import Histogram


async def _echo(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(message.data)
    return socket


async def _errors(request: web.Request) -> web.WebSocketResponse:
    """Every second frame gets an error frame."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    number = 0
    async for message in socket:
        number += 1
        error = '{"error":{"code":503,"type":"queue_full","message":"x","message_id":1}}'
        await socket.send_str(error if number % 2 else message.data)
    return socket


async def _silent(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for _ in socket:
        pass
    return socket


async def _closing(request: web.Request) -> web.WebSocketResponse:
    """Answers three frames, then closes."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    for _ in range(3):
        message = await socket.receive()
        if message.type is not WSMsgType.TEXT:
            return socket
        await socket.send_str(message.data)
    await socket.receive()
    await socket.close(code=1013)
    return socket


async def _talkative(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    for _ in range(5):
        await socket.send_str("news")
    async for message in socket:
        await socket.send_str(message.data)
    return socket


async def _refusing(request: web.Request) -> web.Response:
    del request
    return web.Response(status=403)


async def _secret(request: web.Request) -> web.WebSocketResponse:
    if request.headers.get("X-Key") != "opens":
        raise web.HTTPUnauthorized
    return await _echo(request)


class _Server:
    """The servers above, in a thread with a loop of its own, on a free loopback port."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        assert self._ready.wait(10)

    def url(self, path: str) -> str:
        return f"ws://127.0.0.1:{self._port}{path}"

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        application = web.Application()
        application.router.add_get("/echo", _echo)
        application.router.add_get("/errors", _errors)
        application.router.add_get("/silent", _silent)
        application.router.add_get("/closing", _closing)
        application.router.add_get("/talkative", _talkative)
        application.router.add_get("/refusing", _refusing)
        application.router.add_get("/secret", _secret)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self._port = runner.addresses[0][1]
        self._ready.set()
        await self._stopping.wait()
        await runner.cleanup()


@pytest.fixture(scope="module")
def server() -> Iterator[_Server]:
    running = _Server()
    yield running
    running.stop()


@pytest.fixture(params=[AiohttpOpener, PicowsOpener], ids=["aiohttp", "picows"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[Opener]:
    chosen: type[Opener] = request.param
    monkeypatch.setattr("gateway.cli.bench.opener", chosen)
    return chosen


def _bench(*arguments: str) -> Result:
    return CliRunner().invoke(command, [*arguments, "--json", "-"])


def _numbers(result: Result) -> dict[str, Any]:
    numbers: dict[str, Any] = json.loads(result.stdout)
    return numbers


def test_every_frame_sent_is_answered_and_timed(server, client) -> None:
    result = _bench(server.url("/echo"), "--connections", "3", "--duration", "200ms")

    numbers = _numbers(result)
    assert result.exit_code == 0
    assert numbers["connections"] == 3
    assert numbers["sent"] == numbers["answered"] > 0
    assert 0 < numbers["latency_ms"]["p50"] <= numbers["latency_ms"]["max"]
    assert numbers["errors"] == {}


def test_a_rate_sends_exactly_as_many_frames_as_the_timetable_holds(server, client) -> None:
    result = _bench(server.url("/echo"), "--rate", "200", "--duration", "500ms")

    assert _numbers(result)["sent"] == _numbers(result)["answered"] == 100


def test_error_frames_are_counted_by_their_type(server, client) -> None:
    result = _bench(
        server.url("/errors"), "--connections", "1", "--rate", "100", "--duration", "200ms"
    )

    assert _numbers(result)["errors"] == {"error frame: queue_full": 10}
    assert result.exit_code == 0


def test_a_close_by_the_server_is_counted_by_its_code(server, client) -> None:
    result = _bench(
        server.url("/closing"),
        *("--connections", "2", "--duration", "300ms", "--patience", "200ms"),
    )

    numbers = _numbers(result)
    assert numbers["answered"] == 6
    assert numbers["errors"] == {"close: 1013": 2, "not answered": 2}


def test_frames_without_an_answer_are_errors_and_no_answer_at_all_is_a_failure(
    server, client
) -> None:
    result = _bench(
        server.url("/silent"),
        *("--connections", "2", "--rate", "50", "--duration", "200ms", "--patience", "100ms"),
    )

    assert _numbers(result)["errors"] == {"not answered": 10}
    assert result.exit_code == 1


def test_a_frame_nobody_asked_for_is_counted_as_pushed(server, client) -> None:
    result = _bench(
        server.url("/talkative"), "--connections", "1", "--rate", "4", "--duration", "500ms"
    )

    numbers = _numbers(result)
    assert numbers["pushed"] + numbers["answered"] == 7


def test_a_refused_handshake_is_told_with_its_status(server, client) -> None:
    result = _bench(server.url("/refusing"), "--connections", "2")

    assert result.exit_code == 1
    assert "2 times handshake: 403" in result.stderr


def test_nobody_listening_is_told_in_one_line(client) -> None:
    result = _bench("ws://127.0.0.1:9/", "--connections", "1")

    assert result.exit_code == 1
    assert result.stderr == "Error: no connection could be opened: 1 times connect: refused\n"


def test_headers_of_the_handshake_reach_the_server(server, client) -> None:
    result = _bench(server.url("/secret"), "--header", "X-Key: opens", "--duration", "50ms")

    assert result.exit_code == 0


def test_the_payload_may_come_from_a_file(server, client, tmp_path: Path) -> None:
    payload = tmp_path / "frame.json"
    payload.write_text('{"text": "größer"}')

    result = _bench(server.url("/echo"), "--payload", f"@{payload}", "--duration", "50ms")

    assert result.exit_code == 0


def test_a_payload_that_is_no_text_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    payload = tmp_path / "frame.bin"
    payload.write_bytes(b"\xff\xfe")

    result = _bench("ws://127.0.0.1:9/", "--payload", f"@{payload}")

    assert result.exit_code == 2
    assert "must be UTF-8" in result.stderr


def test_numbers_and_plot_are_written_to_files(server, client, tmp_path: Path) -> None:
    numbers, plot = tmp_path / "numbers.json", tmp_path / "plot.png"

    result = CliRunner().invoke(
        command,
        [server.url("/echo"), "--duration", "100ms", "--json", f"{numbers}", "--plot", f"{plot}"],
    )

    assert result.exit_code == 0
    assert json.loads(numbers.read_text())["answered"] > 0
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "answers/s" in result.stdout


def test_the_limit_is_searched_on_a_live_server(server, client, tmp_path: Path) -> None:
    plot = tmp_path / "knee.png"

    result = _bench(
        server.url("/errors"), "--find-limit", "--duration", "100ms", "--plot", f"{plot}"
    )

    assert result.exit_code == 1  # every rate gives error frames
    assert _numbers(result)["knee"] == 0
    assert plot.exists()


def test_without_picows_the_client_of_aiohttp_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_clients, "find_spec", lambda _: None)

    async def name() -> str:
        chosen = bench_clients.opener()
        await chosen.close()
        return chosen.name

    assert asyncio.run(name()) == "aiohttp"


class TestLimit:
    """The search, against servers that are formulas."""

    async def test_the_knee_is_found_to_a_tenth(self) -> None:
        async def measure(rate: float) -> Step:
            return Step(rate, rate, 0.002 if rate <= 1000 else 0.2, 0)

        limit = await find_limit(measure, start=50)

        assert 900 <= limit.rate <= 1000
        assert limit.floor == 0.002

    async def test_one_hiccup_of_the_machine_is_no_knee(self) -> None:
        asked: list[float] = []

        async def measure(rate: float) -> Step:
            asked.append(rate)
            hiccup = rate == 400 and asked.count(rate) == 1
            return Step(rate, rate, 0.2 if hiccup or rate > 5000 else 0.002, 0)

        limit = await find_limit(measure, start=50)

        assert 4500 <= limit.rate <= 5000
        assert [step.rate for step in limit.steps].count(400) == 1

    async def test_errors_are_too_much_whatever_the_times_say(self) -> None:
        async def measure(rate: float) -> Step:
            return Step(rate, rate, 0.001, 0 if rate < 300 else 7)

        assert 250 <= (await find_limit(measure, start=10)).rate < 300

    async def test_answers_that_do_not_keep_up_are_too_much(self) -> None:
        async def measure(rate: float) -> Step:
            return Step(rate, min(rate, 500), 0.001, 0)

        assert 450 <= (await find_limit(measure, start=10)).rate <= 530

    async def test_a_sender_that_cannot_keep_the_timetable_is_named_as_the_limit(self) -> None:
        async def measure(rate: float) -> Step:
            late = 0.05 if rate > 1000 else 0.0
            return Step(rate, rate, late + 0.001, 0, late)

        limit = await find_limit(measure, start=100)

        assert limit.sender_bound

    async def test_a_first_rate_that_is_too_much_gives_zero(self) -> None:
        async def measure(rate: float) -> Step:
            return Step(rate, rate, 0.001, 1)

        assert (await find_limit(measure, start=100)).rate == 0

    async def test_the_search_ends_where_no_machine_comes_to(self) -> None:
        async def measure(rate: float) -> Step:
            return Step(rate, rate, 0.001, 0)

        limit = await find_limit(measure, start=100_000)

        assert limit.rate == 800_000


class TestHistogram:
    """Percentiles."""

    def test_percentiles_are_right_to_one_percent(self) -> None:
        times = Histogram()
        for number in range(1, 1001):
            times.record(number / 1000)

        assert times.percentile(0.5) == pytest.approx(0.5, rel=0.011)
        assert times.percentile(0.99) == pytest.approx(0.99, rel=0.011)
        assert times.percentile(1.0) == times.greatest == 1.0

    def test_an_empty_one_says_zero(self) -> None:
        assert Histogram().percentile(0.5) == 0.0

    def test_times_of_zero_and_of_an_hour_are_kept(self) -> None:
        times = Histogram()
        times.record(0.0)
        times.record(3600.0)

        assert times.count == 2
        assert times.greatest == 3600.0


def test_only_frames_of_our_error_shape_are_errors() -> None:
    assert error_type(b'{"error":{"code":504,"type":"upstream_timeout"}}') == "upstream_timeout"
    assert error_type(b'{"error":"mine"}') is None
    assert error_type(b'{"errors":[]}') is None
    assert error_type(b'{"error":') is None
    assert error_type(b'{"error":{"type":"\\u001b[2J"}}') is None


def test_the_timeline_counts_each_stretch_by_itself() -> None:
    counts = Counts(clock=lambda: 0.0)
    counts.answer(0.010, b"x")
    counts.answer(0.010, b"x")
    counts.mark(1.0, 1.0)
    counts.mark(2.0, 1.0)

    (_, first, p50, _), (_, second, _, _) = counts.timeline
    assert (first, second) == (2.0, 0.0)
    assert p50 == pytest.approx(0.010, rel=0.011)
