"""Connections that come, stay and say nothing; and what is left for everybody else."""

import asyncio
import contextlib
import socket
import ssl
import subprocess
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidMessage, InvalidStatus

from tests.abuse import UPGRADE, Victim, drop, healthy, rest, said
from tests.phpfpm import PhpFpm

NUMBERS = ("connections", "subscriptions", "channels")
HALF = b"GET /ws HTTP/1.1\r\nHost: x\r\nX-Never: "


async def self_signed(folder: Path) -> dict[str, str]:
    """The `tls` section of a configuration."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1"
    await asyncio.to_thread(
        subprocess.run,
        [*command.split(), "-subj", "/CN=x", "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    return {"certificate": str(certificate), "key": str(key)}


async def test_silent_and_half_said_connections_are_ended_while_clients_come_in(
    php: PhpFpm, tmp_path: Path
) -> None:
    """Faults 21 and 22: silence, a head without end, and one that dribbles."""
    async with Victim(php, tmp_path, client={"handshake_timeout": "2s"}) as victim:
        async with victim.connect() as client:
            await said(client, "echo 1;")
        before = victim.open_files
        crowd = []
        for _ in range(20):
            more = [victim.tcp(data) for data in (b"", HALF) for _ in range(50)]
            crowd += await asyncio.gather(*more)
        assert len(crowd) == 2000
        dribbling = await asyncio.gather(*(victim.tcp(b"G") for _ in range(20)))

        async def dribble() -> None:
            for byte in UPGRADE.format(path="/ws", more="").encode()[1:]:
                for _, writer in dribbling:
                    writer.write(bytes((byte,)))
                await asyncio.sleep(0.1)

        task = asyncio.create_task(dribble())
        for number in range(20):
            async with victim.connect() as client:
                assert await said(client, f"echo {number};") == str(number)
        answers = await asyncio.gather(*(rest(each) for each in (*crowd, *dribbling)))
        task.cancel()
        assert {answer.partition(b"\r\n")[0] for answer in answers} == {
            b"HTTP/1.1 408 Request Timeout"
        }
        await victim.until(lambda: victim.open_files <= before)


async def test_without_file_descriptors_what_matters_goes_on(php: PhpFpm, tmp_path: Path) -> None:
    """Fault 23: no spinning, clients and probes are served, and it ends when the cause ends."""
    async with Victim(php, tmp_path, open_files=160) as victim, healthy(victim):
        base = [await victim.raw() for _ in range(5)]
        crowd = [await victim.tcp() for _ in range(400)]
        refused = await asyncio.wait_for(crowd[-1][0].read(100), 20)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert victim.open_files < 160
        assert await victim.get("/health/live") == 200
        ticks = victim.ticks
        # What is measured is time: the healthy clients cost a little, spinning costs all of it.
        await asyncio.sleep(1)
        assert victim.ticks - ticks < 60
        drop(crowd)

        async def comes_in() -> bool:
            with contextlib.suppress(InvalidStatus, OSError, EOFError):
                async with victim.connect() as client:
                    return bool(await said(client, "echo 7;") == "7")
            return False

        await victim.until(comes_in)
        drop(base)
        assert 1 <= victim.log.count("file descriptors are short") <= 40


async def test_tls_handshakes_under_way_leave_file_descriptors_for_what_matters(
    php: PhpFpm, tmp_path: Path
) -> None:
    """Fault 23, before anybody has said a word: whoever says nothing takes nobody's place."""
    tls = await self_signed(tmp_path)
    async with Victim(php, tmp_path, open_files=160, tls=tls) as victim:
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE

        def secure() -> connect:
            return connect(f"wss://127.0.0.1:{victim.port}/ws", ssl=trusting, proxy=None)

        async with secure() as client:
            assert await said(client, "echo 1;") == "1"
            crowd = [await victim.tcp() for _ in range(400)]
            refused = await asyncio.wait_for(crowd[-1][0].read(100), 20)
            assert refused == b"", "nothing can be said in plain text"
            assert victim.open_files < 150
            assert await victim.get("/health/live") == 200
            assert await said(client, "echo 2;") == "2"
            drop(crowd)

            async def comes_in() -> bool:
                with contextlib.suppress(OSError, EOFError, InvalidMessage):
                    async with secure() as other:
                        return bool(await said(other, "echo 7;") == "7")
                return False

            await victim.until(comes_in)
        assert 1 <= victim.log.count("file descriptors are short") <= 40
        assert "Traceback" not in victim.log


async def test_connections_to_the_internal_listener_leave_room_for_php_fpm(
    php: PhpFpm, tmp_path: Path
) -> None:
    """Fault 23: they may take more than clients may, but not everything."""
    async with Victim(php, tmp_path, open_files=160) as victim, victim.connect() as client:
        crowd = [
            await asyncio.open_connection("127.0.0.1", victim.internal_port) for _ in range(400)
        ]
        refused = await asyncio.wait_for(crowd[-1][0].read(100), 20)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert victim.open_files < 155
        assert await said(client, "echo 1;") == "1"
        drop(crowd)
        await victim.until(lambda: victim.open_files < 100)
        assert await victim.get("/health/live") == 200


async def test_the_limits_are_exact_whatever_comes_at_once(php: PhpFpm, tmp_path: Path) -> None:
    """Fault 24: sixty at a time, forty places, thirty for one address."""
    limits = {"max_connections": 40, "max_connections_per_ip": 30}
    async with Victim(php, tmp_path, client=limits, trusted_proxies=["127.0.0.1"]) as victim:

        async def come(address: str) -> tuple[int, object]:
            try:
                client = await victim.connect(additional_headers={"X-Forwarded-For": address})
            except InvalidStatus as refused:
                return refused.response.status_code, refused.response.headers.get("Retry-After")
            return 101, client

        one = await asyncio.gather(*(come("203.0.113.1") for _ in range(60)))
        assert [status for status, _ in one].count(101) == 30
        assert [status for status, _ in one].count(429) == 30
        other = await asyncio.gather(*(come("203.0.113.2") for _ in range(30)))
        assert [status for status, _ in other].count(101) == 10
        assert [status for status, after in other if after].count(503) == 20
        assert await victim.metric("wsgate_connections") == 40
        series = 'wsgate_connections_total{result="%s",route=""}'
        assert await victim.metric(series % "limited") == 30
        assert await victim.metric(series % "full") == 20
        for _, client in (*one, *other):
            if isinstance(client, ClientConnection):
                await client.close()


async def test_churn_leaves_nothing_in_the_process(php: PhpFpm, tmp_path: Path) -> None:
    """Fault 25: descriptors and sessions are as before; memory is, within five megabytes."""
    channels = [{"match": "*", "idle_ttl": "500ms"}]
    async with Victim(php, tmp_path, channels=channels) as victim:

        async def refused() -> None:
            await rest(await victim.tcp(UPGRADE.format(path="/no", more="").encode()))

        async def aborted() -> None:
            _, writer = await victim.raw()
            writer.write(b"\x81\xfe")
            writer.transport.abort()

        async def closed() -> None:
            async with victim.connect() as client:
                await said(client, "header('WS-Subscribe: a'); echo 1;")

        async def churn(rounds: int) -> tuple[int, int]:
            for _ in range(rounds):
                ways = [way() for way in (refused, aborted, closed) for _ in range(7)]
                await asyncio.gather(*ways)

            async def quiet() -> bool:
                numbers = [await victim.metric(f"wsgate_{name}") for name in NUMBERS]
                return not any(numbers)

            await victim.until(quiet)
            await asyncio.sleep(1.2)
            return victim.open_files, victim.resident

        files, memory = await churn(10)
        later_files, later_memory = await churn(20)
        assert later_files <= files
        assert later_memory - memory < 5 << 20


async def test_a_silent_client_of_the_internal_listener_stops_nothing(
    php: PhpFpm, tmp_path: Path
) -> None:
    """Fault 71: a scraper that hangs, before and after its request."""
    async with Victim(php, tmp_path) as victim, healthy(victim, 2):
        hanging = []
        for number in range(20):
            sock = socket.create_connection(("127.0.0.1", victim.internal_port))
            if number % 2:
                sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50)
            hanging.append(sock)
        assert await victim.get("/metrics") == 200
        for sock in hanging:
            sock.close()


async def test_a_silent_client_of_a_tls_listener_is_ended(php: PhpFpm, tmp_path: Path) -> None:
    """Fault 21: asyncio alone would wait a minute for the handshake."""
    tls = await self_signed(tmp_path)
    async with Victim(php, tmp_path, client={"handshake_timeout": "1s"}, tls=tls) as victim:
        before = victim.open_files
        crowd = [await victim.tcp(data) for data in (b"", b"\x16\x03\x01") for _ in range(20)]
        assert await asyncio.gather(*map(rest, crowd)) == [b""] * 40
        await victim.until(lambda: victim.open_files <= before)
        assert "Traceback" not in victim.log
