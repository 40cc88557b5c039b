"""What PHP receives and what it may answer, row by row of the contract."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs
from websockets.exceptions import InvalidStatus

from tests.inprocess import Gateway, ask, closed

Start = Callable[..., Awaitable[Gateway]]

UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
KILL = "exec('kill -9 ' . getmypid());"
ENV = "echo json_encode($_SERVER);"


def error(frame: str) -> tuple[int, str]:
    found = json.loads(frame)["error"]
    return found["code"], found["type"]


async def test_php_finds_everything_in_server(start: Start) -> None:
    gateway = await start(
        upstream={"params": {"APP_ENV": "test"}},
        routes=[{"name": "room", "path": "/room/{room}", "script": "/ws.php"}],
    )
    headers = {"Cookie": "a=1", "X-Thing": "yes", "X_Evil": "1", "WS-User": "0", "Proxy": "x"}
    async with gateway.connect("/room/bl%C3%BCe?q=1", additional_headers=headers) as client:
        await ask(client, "echo 1;")
        found = json.loads(await ask(client, ENV))

    assert (
        found
        | {
            "REQUEST_METHOD": "POST",
            "SCRIPT_FILENAME": str(gateway.php.document_root / "ws.php"),
            "SCRIPT_NAME": "/ws.php",
            "DOCUMENT_ROOT": str(gateway.php.document_root),
            "REQUEST_URI": "/room/bl%C3%BCe?q=1",
            "QUERY_STRING": "q=1",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REQUEST_SCHEME": "http",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": str(gateway.port),
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(ENV)),
            "HTTP_HOST": f"127.0.0.1:{gateway.port}",
            "HTTP_COOKIE": "a=1",
            "HTTP_X_THING": "yes",
            "WS_EVENT": "message",
            "WS_MESSAGE_ID": "2",
            "WS_MESSAGE_TYPE": "text",
            "WS_ROUTE": "room",
            "WS_PATH_ROOM": "blüe",
            "WS_SUBPROTOCOL": "",
            "WS_PUSH_URL": f"http://127.0.0.1:{gateway.internal_port}/connections/"
            + found["WS_CONNECTION_ID"],
            "APP_ENV": "test",
        }
        == found
    )
    assert int(found["WS_CONNECTED_AT"]) / 1000 == pytest.approx(found["REQUEST_TIME"], abs=5)
    for name in ("HTTP_X_EVIL", "HTTP_WS_USER", "HTTP_PROXY", "HTTP_SEC_WEBSOCKET_KEY", "HTTPS"):
        assert name not in found


class TestConnect:
    async def test_accepted_with_a_first_frame_a_cookie_and_a_subprotocol(
        self, start: Start
    ) -> None:
        gateway = await start()
        code = (
            "header('Sec-WebSocket-Protocol: v2'); setcookie('s', 'x y'); header('WS-User: 42');"
            "header('WS-Meta-Room: blue'); echo 'hello';"
        )
        async with gateway.connect(on_connect=code, subprotocols=["v1", "v2"]) as client:
            assert client.subprotocol == "v2"
            assert client.response is not None
            assert client.response.headers["Set-Cookie"].startswith("s=x%20y")
            assert await client.recv() == "hello"
            found = json.loads(await ask(client, ENV))

        assert found["WS_USER"] == "42"
        assert found["WS_META_ROOM"] == "blue"
        assert found["WS_SUBPROTOCOL"] == "v2"
        assert found["HTTP_COOKIE"] == "s=x%20y"

    @pytest.mark.parametrize(
        ("code", "status", "headers", "body"),
        [
            ("http_response_code(403); echo 'no';", 403, {"Content-Type": "text/html"}, b"no"),
            ("header('Location: /login');", 302, {"Location": "/login"}, b""),
            ("http_response_code(401); header('WWW-Authenticate: Basic');", 401, {}, b""),
            ("http_response_code(503); header('Retry-After: 7');", 503, {"Retry-After": "7"}, b""),
            ("throw new Exception('secret');", 500, {}, b""),
        ],
    )
    async def test_refused_with_the_status_headers_and_body_of_php(
        self, start: Start, code: str, status: int, headers: dict[str, str], body: bytes
    ) -> None:
        gateway = await start()
        url = gateway.url(connect="header('WS-Meta-A: b');" + code).replace("ws:", "http:")
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, headers=UPGRADE, allow_redirects=False) as response,
        ):
            assert response.status == status
            assert await response.read() == body
            assert "WS-Meta-A" not in response.headers
            for name, value in headers.items():
                assert response.headers[name].startswith(value)
        await asyncio.sleep(0.05)
        assert gateway.events == []

    async def test_a_client_that_gives_up_meanwhile_has_its_end_told(self, start: Start) -> None:
        gateway = await start()
        with pytest.raises(TimeoutError):
            await gateway.connect(on_connect="usleep(300000);", open_timeout=0.1)

        await gateway.until(lambda: gateway.events)
        assert gateway.events[0]["body"] == {"code": 1006, "reason": "", "clean": False}

    async def test_what_is_sent_before_php_has_said_yes_waits(self, start: Start) -> None:
        gateway = await start()
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        code = "usleep(100000);"
        writer.write(
            (
                f"GET /ws?connect={code} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            ).encode()
        )
        writer.write(b"\x81\x87\0\0\0\0echo 7;")
        try:
            async with asyncio.timeout(5):
                assert b"101" in await reader.readline()
                await reader.readuntil(b"\r\n\r\n")
                assert await reader.readexactly(3) == b"\x81\x017"
        finally:
            writer.close()


class TestReplies:
    @pytest.mark.parametrize(
        ("code", "frame"),
        [
            ("echo 'hi';", "hi"),
            ("header('Content-Type: application/json'); echo '{}';", "{}"),
            ("echo 'ü';", "ü"),
            ("header('Content-Type: application/octet-stream'); echo \"\\0\\xff\";", b"\0\xff"),
            ("echo str_repeat('x', 3000000);", "x" * 3_000_000),
        ],
    )
    async def test_a_body_is_a_frame(self, start: Start, code: str, frame: Any) -> None:
        gateway = await start()
        async with gateway.connect() as client:
            assert await ask(client, code) == frame

    async def test_204_or_nothing_is_no_frame(self, start: Start) -> None:
        gateway = await start()
        async with gateway.connect() as client:
            await client.send("http_response_code(204);")
            await client.send("$x = 1;")
            assert await ask(client, "echo 'next';") == "next"

    async def test_binary_frames_reach_php_byte_by_byte(self, start: Start) -> None:
        gateway = await start()
        gateway.php.script(
            "echo.php",
            "header('Content-Type: application/octet-stream'); echo file_get_contents('php://input');",
        )
        gateway = await start(
            routes=[{"path": "/echo", "script": "/echo.php"}], client={"max_message": "2MiB"}
        )
        async with gateway.connect("/echo") as client:
            for size in (0, 1, 125, 126, 8191, 8192, 8193, 65535, 65536, 1_500_000):
                payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
                await client.send(payload)
                if size:
                    assert await client.recv() == payload

    @pytest.mark.parametrize(
        ("code", "failure"),
        [
            ("http_response_code(422); echo 'secret';", (422, "bad_request")),
            ("http_response_code(500);", (500, "upstream_error")),
            ("throw new Exception('secret');", (500, "upstream_error")),
            ("undefined_function();", (500, "upstream_error")),
            ("header('Location: /x');", (302, "upstream_error")),
            (KILL, (502, "upstream_error")),
            ('echo "caf\\xe9";', (502, "upstream_error")),
            ("header('WS-Close: nonsense');", (502, "upstream_error")),
            ("echo str_repeat('x', 5000000);", (502, "upstream_error")),
            ("header('Content-Length: 3'); echo 'four';", (502, "upstream_error")),
            ('for ($i = 0; $i < 3000; $i++) header("X-$i: 1");', (502, "upstream_error")),
            ("usleep(1500000);", (504, "upstream_timeout")),
        ],
    )
    async def test_what_fails_is_one_error_frame_and_the_socket_stays(
        self, start: Start, code: str, failure: tuple[int, str]
    ) -> None:
        gateway = await start(upstream={"timeout": "1s", "max_response": "4MiB"})
        async with gateway.connect() as client:
            frame = await ask(client, code)
            assert error(frame) == failure
            assert json.loads(frame)["error"]["message_id"] == 1
            assert "secret" not in frame
            assert str(gateway.php.folder) not in frame
            assert await ask(client, "echo 'alive';") == "alive"

    async def test_on_error_decides_about_php_s_own_errors(self, start: Start) -> None:
        gateway = await start(
            routes=[
                {"path": f"/{word}", "script": "/ws.php", "on_error": word}
                for word in ("close", "ignore")
            ]
        )
        async with gateway.connect("/close") as client:
            await client.send("http_response_code(409);")
            assert (await closed(client))[0] == 4409
        async with gateway.connect("/ignore") as client:
            await client.send("http_response_code(409);")
            assert await ask(client, "echo 1;") == "1"
            assert error(await ask(client, KILL)) == (502, "upstream_error")

    async def test_a_warning_before_the_json_does_not_break_the_json_wire(
        self, start: Start
    ) -> None:
        gateway = await start(routes=[{"path": "/warn", "script": "/warn.php"}])
        gateway.php.script(
            "warn.php",
            "header('Content-Type: application/json'); echo 'Warning: Undefined variable', '{}';",
        )
        async with gateway.connect("/warn", subprotocols=["wsgate.v1.json"]) as client:
            assert "connected" in json.loads(await client.recv())
            answer = json.loads(await ask(client, json.dumps({"id": 1, "send": 1})))
            assert answer["id"] == 1
            assert "Undefined variable" in answer["reply"]

    async def test_close_after_the_frame(self, start: Start) -> None:
        gateway = await start()
        async with gateway.connect() as client:
            assert await ask(client, "header('WS-Close: 4001 so long'); echo 'bye';") == "bye"
            assert await closed(client) == (4001, "so long")
        await gateway.until(lambda: gateway.events)
        assert gateway.events[0]["body"] == {"code": 4001, "reason": "so long", "clean": True}

    async def test_meta_is_remembered_until_it_is_emptied(self, start: Start) -> None:
        gateway = await start()
        async with gateway.connect() as client:
            await client.send("header('WS-Meta-Cart-Id: 7'); header('WS-Meta-B: 1');")
            await client.send("header('WS-Meta-B:');")
            found = json.loads(await ask(client, ENV))
        assert found["WS_META_CART_ID"] == "7"
        assert "WS_META_B" not in found

    async def test_a_session_started_over_the_socket_stays_the_same(self, start: Start) -> None:
        gateway = await start()
        folder = gateway.php.folder / "sessions"
        folder.mkdir(exist_ok=True)
        count = (
            f"ini_set('session.save_path', '{folder}'); session_start();"
            "echo $_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1;"
        )
        async with gateway.connect() as client:
            assert [await ask(client, count) for _ in range(3)] == ["1", "2", "3"]
            await client.send("setcookie('PHPSESSID', '', 1);")
            assert await ask(client, count) == "1"

    async def test_many_effects_are_done_in_their_order(self, start: Start) -> None:
        gateway = await start()
        effects = [
            {"send": {"n": 1}},
            {"subscribe": ["a"]},
            {"publish": {"channel": "a", "data": {"n": 2}}},
            {"publish": {"channel": "a", "data": {"n": 0}, "exclude_self": True}},
            {"unsubscribe": ["a"]},
            {"publish": {"channel": "a", "data": {"n": 0}}},
            {"meta": {"x": "y"}},
            {"send": {"n": 3}},
        ]
        code = f"header('Content-Type: application/vnd.wsgate+json'); echo '{json.dumps(effects)}';"
        async with gateway.connect() as client:
            await client.send(code)
            assert [json.loads(await client.recv())["n"] for _ in range(3)] == [1, 2, 3]
            assert json.loads(await ask(client, ENV))["WS_META_X"] == "y"

    async def test_publishing_and_subscribing_by_headers(self, start: Start) -> None:
        gateway = await start()
        async with gateway.connect() as one, gateway.connect() as two:
            for client in (one, two):
                assert await ask(client, "header('WS-Subscribe: a, b'); echo 'in';") == "in"
            await one.send("header('WS-Publish: a'); header('WS-Exclude: self'); echo 'news';")
            assert await two.recv() == "news"
            await one.send("header('WS-Unsubscribe: a'); header('WS-Publish: b'); echo 'both';")
            assert [await one.recv(), await two.recv()] == ["both", "both"]


class TestRoutes:
    async def test_rules_choose_the_script(self, start: Start) -> None:
        gateway = await start()
        for name in ("stats", "rest"):
            gateway.php.script(f"{name}.php", f"echo '{name} ', $_SERVER['WS_RULE'];")
        rules = {"stats": {"script": "/stats.php"}, "*": {"script": "/rest.php"}}
        gateway = await start(
            routes=[
                {
                    "path": "/rules",
                    "script": "/ws.php",
                    "messages": {"select": "do.it", "rules": rules},
                }
            ]
        )
        async with gateway.connect("/rules") as client:
            assert await ask(client, '{"do":{"it":"stats"}}') == "stats stats"
            for other in ('{"do":{"it":"x"}}', '{"do":1}', "nonsense", b"\0"):
                assert await ask(client, other) == "rest *"

    async def test_content_type_is_the_routes(self, start: Start) -> None:
        gateway = await start(
            routes=[{"path": "/plain", "script": "/ws.php", "content_type": "text/plain"}]
        )
        async with gateway.connect("/plain") as client:
            assert await ask(client, "echo $_SERVER['CONTENT_TYPE'];") == "text/plain"
            assert (
                await ask(client, b"echo $_SERVER['CONTENT_TYPE'];") == "application/octet-stream"
            )

    async def test_replies_stay_in_order_with_several_in_flight(self, start: Start) -> None:
        gateway = await start(
            routes=[{"path": "/many", "script": "/ws.php", "concurrency": 3}],
        )
        async with gateway.connect("/many") as client:
            for number in range(12):
                pause = (12 - number) % 3 * 20_000
                await client.send(f"usleep({pause}); echo {number};")
            assert [await client.recv() for _ in range(12)] == [str(n) for n in range(12)]

    async def test_one_at_a_time_per_session_across_connections(self, start: Start) -> None:
        """Fault 49: no child of php-fpm only waits for the lock of a session."""
        gateway = await start(
            routes=[{"path": "/s", "script": "/ws.php", "serialize_by": "cookie:PHPSESSID"}]
        )
        mark = gateway.php.folder / "inside"
        code = (
            f"$f = '{mark}'; if (file_exists($f)) die('two'); touch($f); usleep(20000); unlink($f);"
            "echo 'one';"
        )
        cookie = {"additional_headers": {"Cookie": "PHPSESSID=x"}}
        async with gateway.crowd(4, "/s", **cookie) as clients:
            for client in clients * 2:
                await client.send(code)
            answers = [await client.recv() for client in clients * 2]
        assert answers == ["one"] * 8

    @pytest.mark.parametrize(
        ("origin", "accepted"),
        [
            (None, True),
            ("http://127.0.0.1:PORT", True),
            ("HTTP://127.0.0.1:PORT", True),
            ("https://partner.example", True),
            ("null", False),
            ("https://partner.example.evil.io", False),
            ("http://127.0.0.1", False),
        ],
    )
    async def test_origins(self, start: Start, origin: str | None, accepted: bool) -> None:
        """Fault 30 and 31: judged before PHP is asked, whatever cookies are sent."""
        gateway = await start(
            client={"allowed_origins": ["same-origin", "https://partner.example"]}
        )
        found = origin and origin.replace("PORT", str(gateway.port))
        options: dict[str, Any] = {
            "origin": found,
            "additional_headers": {"Cookie": "PHPSESSID=valid"},
        }
        if accepted:
            async with gateway.connect(**options):
                return
        with pytest.raises(InvalidStatus) as caught:
            await gateway.connect(**options)
        assert caught.value.response.status_code == 403
        assert gateway.pool.sent == 0

    async def test_a_trusted_proxy_tells_scheme_and_address(self, start: Start) -> None:
        headers = {"X-Forwarded-For": "203.0.113.9, 127.0.0.1", "X-Forwarded-Proto": "https"}
        for trusted, expected in ((["127.0.0.1"], "203.0.113.9"), ([], "127.0.0.1")):
            gateway = await start(trusted_proxies=trusted)
            async with gateway.connect(additional_headers=headers) as client:
                found = json.loads(await ask(client, ENV))
            assert found["REMOTE_ADDR"] == expected
            assert found.get("HTTPS") == ("on" if trusted else None)


async def test_good_frames_leave_no_line_in_the_log_at_whatever_level(start: Start) -> None:
    gateway = await start()
    with capture_logs() as logs:
        async with gateway.connect() as client:
            for number in range(20):
                assert await ask(client, f"echo {number};") == str(number)
            assert await ask(client, "header('WS-Subscribe: a'); echo 'in';") == "in"
        await gateway.until(lambda: gateway.events)
    assert logs == []


async def test_disconnect_comes_after_everything_that_was_sent(start: Start) -> None:
    """Fault 47: the result of a running script is dropped, its end is waited for."""
    gateway = await start()
    log = gateway.php.document_root / "events.log"
    code = f"usleep(30000); file_put_contents('{log}', '{{\"event\":\"message\"}}\n', FILE_APPEND);"
    client = await gateway.connect()
    for _ in range(4):
        await client.send(code)
    await client.close(1000, "done")

    await gateway.until(lambda: len(gateway.events) == 5)
    assert [event["event"] for event in gateway.events] == ["message"] * 4 + ["disconnect"]
    assert gateway.events[-1]["body"] == {"code": 1000, "reason": "done", "clean": True}


async def test_pushes_arrive_while_a_script_runs_and_pings_are_answered(start: Start) -> None:
    gateway = await start()
    async with gateway.connect() as client:
        identity = json.loads(await ask(client, ENV))["WS_CONNECTION_ID"]
        await client.send("usleep(300000); echo 'reply';")
        await asyncio.wait_for(await client.ping(), 5)
        await gateway.worker.connections.push(identity, b"pushed", "text/plain")
        assert [await client.recv(), await client.recv()] == ["pushed", "reply"]


async def test_frames_of_one_connection_are_executed_in_their_order(start: Start) -> None:
    """Fault 48, with scripts that take different times."""
    gateway = await start()
    path = gateway.php.folder / "order"
    async with gateway.crowd(5) as clients:
        for number in range(40):
            for place, client in enumerate(clients):
                pause = (number * 7 + place) % 5 * 200
                await client.send(
                    f"usleep({pause}); file_put_contents('{path}', '{place} {number}\n',"
                    f" FILE_APPEND); echo {number};"
                )
        for client in clients:
            assert [await client.recv() for _ in range(40)] == [str(n) for n in range(40)]
    lines = [line.split() for line in path.read_text().splitlines()]
    for place in range(5):
        assert [int(n) for p, n in lines if int(p) == place] == list(range(40))
