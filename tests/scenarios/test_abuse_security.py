"""What must never get through, never be believed and never be written down."""

import asyncio
import io
import itertools
import json
import re
from collections import Counter
from pathlib import Path

import aiohttp

from tests.abuse import DEADLINE, UPGRADE, Victim, rest, said
from tests.phpfpm import PhpFpm

KEY = "a-key-that-nobody-guesses"
SECRET = "tell-nobody-7f3a"

FORMS = ["/any/{}", "/any/{}?script=/evil.php", "//any/{}"]
TRICKS = [
    *("%00", "a%00.php", "..", "../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd", "..%2f..%2fx"),
    *("x.php/y", "x.php%20", "x.php%00.jpg", "%c8%ba.php", "Ⱥ.php", "a%0d%0aX: y", "a\\..\\b"),
    *("a;b", "a%3fb", "%", "%zz", "%ff%fe", "//x//", "x" * 8000, ".", "./x.php", "~root", ""),
]


async def test_no_path_chooses_the_script(php: PhpFpm, tmp_path: Path) -> None:
    """Fault 34."""
    php.script("evil.php", "echo 'evil';")
    expected = f"{php.document_root}/ws.php|/ws.php|||/ws.php|{php.document_root}"
    code = (
        b"echo implode('|', array_map(fn($n) => $_SERVER[$n] ?? '', ['SCRIPT_FILENAME',"
        b"'SCRIPT_NAME', 'PATH_INFO', 'PATH_TRANSLATED', 'DOCUMENT_URI', 'DOCUMENT_ROOT']));"
    )
    message = bytes((0x81, 0xFE)) + len(code).to_bytes(2, "big") + bytes(4) + code
    accepted = 0
    async with Victim(php, tmp_path, route={"path": "/any/{rest:.*}"}) as victim:
        for form, trick in itertools.product(FORMS, TRICKS):
            streams = await victim.tcp(
                UPGRADE.format(path=form.format(trick), more="").encode() + message
            )
            head = await asyncio.wait_for(streams[0].readuntil(b"\r\n\r\n"), DEADLINE)
            status = int(head.split()[1])
            if status == 101:
                accepted += 1
                frame = await asyncio.wait_for(
                    streams[0].readuntil(str(php.document_root).encode() + b"/ws.php"), DEADLINE
                )
                frame += await asyncio.wait_for(streams[0].readuntil(b"public"), DEADLINE)
                assert frame.endswith(
                    b"ws.php|/ws.php|||/ws.php|" + expected.rpartition("|")[2].encode()
                ), (trick, frame)
            else:
                assert status in {400, 404}, (trick, head)
            streams[1].transport.abort()
        assert "Traceback" not in victim.log
    assert accepted


async def test_the_api_knows_its_callers_and_its_limits(php: PhpFpm, tmp_path: Path) -> None:
    """Fault 35."""
    channels = [{"match": "*", "idle_ttl": "1s"}]
    async with Victim(php, tmp_path, channels=channels) as open_to_all:
        base = f"http://127.0.0.1:{open_to_all.internal_port}"
        public = f"http://127.0.0.1:{open_to_all.port}"
        async with aiohttp.ClientSession() as session:
            body = io.BytesIO(b"x" * (9 << 20))
            async with session.post(f"{base}/channels/a", data=body) as response:
                assert response.status == 413
                assert response.headers["Server"] == "wsgate"
            lines = b"".join(b'{"channel":"c%d","data":1}\n' % each for each in range(100_000))
            async with session.post(f"{base}/batch", data=io.BytesIO(lines)) as response:
                assert response.status == 200
                assert (await response.read()).count(b"\n") == 100_000
            for method, path in [
                ("POST", "/channels/a"),
                ("POST", "/publish?channel=a"),
                ("GET", "/metrics"),
                ("GET", "/status"),
                ("GET", "/health/live"),
                ("POST", "/batch"),
                ("DELETE", "/connections/x"),
            ]:
                async with session.request(method, public + path, data=b"x") as response:
                    assert response.status == 404, path
                    assert response.headers["Server"] == "wsgate"

        async def forgotten() -> bool:
            return await open_to_all.metric("wsgate_channels") == 0

        await open_to_all.until(forgotten)
        answer = await rest(await open_to_all.tcp(b"NONSENSE\r\n\r\n"))
        assert b"aiohttp" not in answer
        assert b"Python" not in answer


async def test_without_the_right_key_nothing_is_done(php: PhpFpm, tmp_path: Path) -> None:
    """Fault 35."""
    async with Victim(php, tmp_path) as victim:
        text = json.loads(victim.file.read_text())
        text["internal"]["api_key"] = KEY
        victim.file.write_text(json.dumps(text))
        victim.process.send_signal(1)
        await victim.until(lambda: "configuration reloaded" in victim.log)
        url = f"http://127.0.0.1:{victim.internal_port}/channels/a"
        wrong = [
            {},
            {"Authorization": "Bearer "},
            {"Authorization": f"Bearer {KEY[:-1]}"},
            {"Authorization": f"Bearer {KEY}x"},
            {"Authorization": f"bearer{KEY}"},
            {"Authorization": f"Basic {KEY}"},
            {"X-API-Key": ""},
            {"X-API-Key": "ä"},
            {"X-API-Key": "x", "Authorization": f"Bearer {KEY}"},
            {"Cookie": f"api_key={KEY}"},
        ]
        async with aiohttp.ClientSession() as session:
            for headers in wrong:
                async with session.put(url, headers=headers) as response:
                    assert response.status == 401, headers
            async with session.put(f"{url}?key={KEY}") as response:
                assert response.status == 401
            async with session.get(url, headers={"X-API-Key": KEY}) as response:
                assert response.status == 404, "nobody has opened it"
        assert KEY not in victim.log


async def test_no_client_joins_what_is_not_its_own(php: PhpFpm, tmp_path: Path) -> None:
    """Fault 36."""
    route = {"client_subscribe": ["room.*"], "client_publish": ["room.*"]}
    names = [
        *("private.2", "room", "room.*", "room.>", "room.\n", "room.a\r\nSUBSCRIBE private.2", "*"),
        *(">", "", "room.a b", 'room."; DROP', "room.\0", "room.\u202ea", "room." + "x" * 300),
        *("Room.a", " room.a", "room.a "),
    ]
    refused = {400, 403}
    async with (
        Victim(php, tmp_path, route=route) as victim,
        victim.connect(subprotocols=["wsgate.v1.json"]) as client,
    ):
        await client.recv()
        for name in names:
            for command in ("subscribe", "publish", "history", "presence"):
                answer = json.loads(
                    await said(client, json.dumps({"id": 1, command: name, "data": 1}))
                )
                assert answer["error"]["code"] in refused, (command, name, answer)
        assert "subscribed" in await said(client, '{"id":2,"subscribe":"room.a"}')
        assert await victim.metric("wsgate_subscriptions") == 1
        assert "Traceback" not in victim.log


async def test_nothing_secret_is_written_and_not_too_much(php: PhpFpm, tmp_path: Path) -> None:
    """Fault 39: abuse of every kind, then what stands in the log and in the labels."""
    php.script("broken.php", "header('WS-Close: 9'); echo 'x';")
    php.script("stderr.php", "error_log('once more');  echo \"\\xff\";")
    jwt = {"jwt": {"secret": "x" * 32, "from": ["query:token", "cookie:token", "header"]}}
    routes = [
        {"name": name, "path": f"/{name}", "script": f"/{name}.php", "upstream": "app", **more}
        for name, more in (("broken", {}), ("stderr", {}), ("ws", {"auth": jwt}))
    ]
    headers = f"Cookie: token={SECRET}\r\nAuthorization: Bearer {SECRET}\r\nX-Odd: {SECRET}\r\n"
    payload = SECRET.encode()
    frame = bytes((0x81, 0x80 | len(payload))) + bytes(4) + payload
    async with Victim(php, tmp_path, routes=routes) as victim:
        for path in ("/broken", "/stderr"):
            crowd = await asyncio.gather(*(victim.raw(path, headers) for _ in range(10)))
            for _, writer in crowd:
                writer.write(frame * 30)
            for reader, writer in crowd:
                await asyncio.wait_for(reader.read(100), DEADLINE)
                await asyncio.sleep(0.01)
                writer.transport.abort()
        for data in [
            UPGRADE.format(path=f"/ws?token={SECRET}", more=headers),
            UPGRADE.format(path="/ws", more=headers + f"Bad Header {SECRET}\r\n"),
            UPGRADE.format(path="/ws", more=headers + "Content-Length: 5\r\n"),
            f"GET /{SECRET} HTTP/1.1\r\nHost: x\r\n{headers}\r\n",
            f"{SECRET} / HTTP/1.1\r\n\r\n",
            f"GET / HTTP/9.9\r\nX: {SECRET}\r\n\r\n",
            f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {SECRET}\r\n\r\n",
            f"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{SECRET}\r\n",
        ]:
            for _ in range(30):
                streams = await victim.tcp(data.encode())
                await asyncio.sleep(0)
                streams[1].write_eof()
                await rest(streams)
        _, numbers = await victim.read("/metrics")
        log = victim.log
    assert SECRET not in log
    assert "php wrote to stderr" in log
    assert "reply cannot be carried out" in log
    assert "Traceback" not in log
    seconds = Counter(
        (line[:19], line[20:].split("]", 1)[-1].strip()[:30]) for line in log.splitlines()
    )
    # Ten a second by the monotonic clock; two such seconds share one of the wall clock's.
    assert max(seconds.values()) <= 20, seconds.most_common(3)
    assert SECRET not in numbers
    labels = set(re.findall(r'(?:route|path|channel|user|remote)="([^"]*)"', numbers))
    assert labels <= {"", "broken", "stderr", "ws", "t"}
