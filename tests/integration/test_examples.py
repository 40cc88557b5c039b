"""The examples and the README's twenty lines, as a stranger meets them: php-fpm, nginx and all."""

import asyncio
import json
import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.server.phpfpm import PrivatePhpFpm, find_php_fpm
from tests.wsgate import dev, serve

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(find_php_fpm() is None, reason="needs php-fpm")

Socket = aiohttp.ClientWebSocketResponse


@pytest.fixture
async def session(tmp_path: Path, unused_tcp_port_factory) -> AsyncIterator[aiohttp.ClientSession]:
    ports = unused_tcp_port_factory(), unused_tcp_port_factory()
    async with (
        dev(ROOT / "php-example", tmp_path / "tmp", *ports) as running,
        aiohttp.ClientSession(
            f"http://127.0.0.1:{running.port}",
            # Cookies of a bare address are kept only on request.
            cookie_jar=aiohttp.CookieJar(unsafe=True),
        ) as made,
    ):
        yield made


async def ask(socket: Socket, value: Any) -> Any:
    await socket.send_str(json.dumps(value))
    return json.loads(await socket.receive_str(timeout=10))


async def test_every_example_has_a_page_a_route_and_between_20_and_60_lines() -> None:
    for folder in sorted(path for path in (ROOT / "php-example").iterdir() if path.is_dir()):
        assert (folder / "index.html").is_file(), folder.name
        for script in folder.glob("*.php"):
            assert 20 <= len(script.read_text().splitlines()) <= 60, script


async def test_the_examples_do_what_they_say(session: aiohttp.ClientSession) -> None:
    """One gateway for all of them: a start costs more than all the frames."""
    await echo(session)
    await chat(session)
    await login(session)
    await errors(session)


async def echo(session: aiohttp.ClientSession) -> None:
    async with session.ws_connect("/ws/echo") as socket:
        answer = await ask(socket, {"hello": "PHP"})
        assert answer["echo"] == {"hello": "PHP"}
        assert answer["message"] == 1
        await socket.send_bytes(b"\x00\xfe\xff")
        assert await socket.receive_bytes(timeout=10) == b"\x00\xfe\xff"


async def chat(session: aiohttp.ClientSession) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await session.ws_connect("/ws/chat/lobby?name=%3Cb%3E")
    assert refused.value.status == 403
    async with (
        session.ws_connect("/ws/chat/lobby?name=Ada") as ada,
        session.ws_connect("/ws/chat/lobby?name=Grace") as grace,
        session.ws_connect("/ws/chat/attic?name=Alan") as alan,
    ):
        said = await ask(ada, {"text": "hi"})
        assert (said["from"], said["text"]) == ("Ada", "hi")
        assert json.loads(await grace.receive_str(timeout=10)) == said
        # Another room hears only itself: what comes to it first is its own word.
        assert (await ask(alan, {"text": "alone"}))["from"] == "Alan"
        assert (await ask(ada, {"text": ""}))["error"]["code"] == 422


async def login(session: aiohttp.ClientSession) -> None:
    async with session.ws_connect("/ws/login") as socket:
        assert json.loads(await socket.receive_str(timeout=10)) == {"you": None}
        wrong = await ask(socket, {"action": "login", "user": "Ada", "password": "x"})
        assert wrong["error"]["code"] == 403
        right = {"action": "login", "user": "Ada", "password": "wsgate"}
        assert await ask(socket, right) == {"you": "Ada"}
        assert await ask(socket, {"action": "count"}) == {"you": "Ada", "visits": 1}
        assert await ask(socket, {"action": "count"}) == {"you": "Ada", "visits": 2}
    # The cookie came with the 101: another socket of the same browser is the same person.
    async with session.ws_connect("/ws/login") as socket:
        assert json.loads(await socket.receive_str(timeout=10)) == {"you": "Ada"}
        assert await ask(socket, {"action": "logout"}) == {"you": None}


async def errors(session: aiohttp.ClientSession) -> None:
    async with session.ws_connect("/ws/errors") as socket:
        for word, code, kind in (
            ("refuse", 422, "bad_request"),
            ("fatal", 500, "upstream_error"),
            ("die", 502, "upstream_error"),
            ("huge", 502, "upstream_error"),
            ("slow", 504, "upstream_timeout"),
        ):
            error = (await ask(socket, {"fail": word}))["error"]
            assert (error["code"], error["type"]) == (code, kind), word
        await socket.send_str('{"fail": "nothing"}')
        answer = await ask(socket, {"fail": "warning"})
        assert answer == {"answer": "in spite of a warning"}
        assert await ask(socket, {"fail": "close"}) == {"answer": "farewell"}
        ended = await socket.receive(timeout=10)
        assert (ended.type, ended.data) == (aiohttp.WSMsgType.CLOSE, 4001)
        assert ended.extra == "as you wish"


def readme_blocks(language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )


def self_signed(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


@pytest.fixture
async def readme_gateway(tmp_path: Path, unused_tcp_port: int) -> AsyncIterator[int]:
    """The README's PHP and YAML, with only the addresses changed; gives the port."""
    (php,) = readme_blocks("php")
    (config,) = readme_blocks("yaml")
    assert len(php.splitlines()) + len(config.splitlines()) <= 30
    app = tmp_path / "app"
    app.mkdir()
    (app / "ws.php").write_text(php)
    internal = tmp_path / "internal.sock"
    with PrivatePhpFpm(app, children=5, on_line=lambda _: None) as php_fpm:
        for old, new in (
            ("127.0.0.1:8080", f"127.0.0.1:{unused_tcp_port}"),
            ("/run/php/php-fpm.sock", str(php_fpm.socket)),
            ("/srv/app", str(app)),
        ):
            assert config.count(old) == 1
            config = config.replace(old, new)
        file = tmp_path / "wsgate.yaml"
        file.write_text(
            f"{config}internal: {{listen: 'unix:{internal}'}}\ntrusted_proxies: [127.0.0.1]\n"
        )
        async with serve(file):
            yield unused_tcp_port


async def test_the_twenty_lines_of_the_readme_work_as_they_stand(readme_gateway: int) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"ws://127.0.0.1:{readme_gateway}/ws/lobby") as socket,
    ):
        assert await ask(socket, {"text": "hi"}) == {"room": "lobby", "echo": "hi", "message": 1}
        assert (await ask(socket, {}))["error"]["code"] == 422


@pytest.fixture
async def nginx(
    tmp_path: Path, readme_gateway: int, unused_tcp_port_factory
) -> AsyncIterator[tuple[int, Path]]:
    """A real nginx with conf/nginx.conf, only addresses and files changed; port, certificate."""
    binary = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if binary is None or shutil.which("openssl") is None:
        pytest.skip("needs nginx and openssl")
    prefix = tmp_path / "nginx"
    prefix.mkdir()
    certificate, key = self_signed(prefix)
    port = unused_tcp_port_factory()
    block = (ROOT / "conf" / "nginx.conf").read_text()
    for old, new in (
        ("server 127.0.0.1:8080;", f"server 127.0.0.1:{readme_gateway};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("server_name example.com;", "server_name localhost;"),
        ("/etc/ssl/certs/example.com.pem", str(certificate)),
        ("/etc/ssl/private/example.com.key", str(key)),
    ):
        assert block.count(old) == 1, old
        block = block.replace(old, new)
    temporary = "\n".join(
        f"{name}_temp_path {prefix}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file = prefix / "nginx.conf"
    file.write_text(
        f"daemon off;\nmaster_process off;\npid {prefix}/pid;\nerror_log stderr;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{temporary}\n{block}\n}}\n"
    )
    command = [binary, "-p", str(prefix), "-c", str(file), "-e", "stderr"]
    tested = await asyncio.create_subprocess_exec(*command, "-t", stderr=asyncio.subprocess.PIPE)
    _, said = await tested.communicate()
    assert tested.returncode == 0, said.decode()
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    await writer.wait_closed()
                    break
        yield port, certificate
    finally:
        process.terminate()
        await process.wait()


async def test_frames_travel_through_nginx_with_tls(nginx: tuple[int, Path]) -> None:
    port, certificate = nginx
    tls = ssl.create_default_context(cafile=str(certificate))
    async with aiohttp.ClientSession() as session:
        url = f"wss://localhost:{port}/ws/lobby"
        async with session.ws_connect(url, ssl=tls) as socket:
            answer = await ask(socket, {"text": "through the proxy"})
            assert answer["echo"] == "through the proxy"
        # Same origin as the browser sees it, although the gateway itself speaks plain HTTP.
        async with session.ws_connect(url, ssl=tls, origin=f"https://localhost:{port}") as socket:
            assert (await ask(socket, {"text": "same origin"}))["message"] == 1
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(url, ssl=tls, origin="https://elsewhere.example")
        assert refused.value.status == 403


async def test_the_internal_listener_is_nowhere_in_what_stands_in_front() -> None:
    for name in ("nginx.conf", "Caddyfile", "compose/nginx.conf"):
        lines = (ROOT / "conf" / name).read_text().splitlines()
        used = [line for line in lines if not line.lstrip().startswith("#")]
        assert not any("8081" in line for line in used), name
