"""`wsgate dev`: what a folder becomes, and that nothing of it is left behind."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from gateway.cli.folders import (
    children_for,
    config_of,
    example_path,
    page_of,
    with_private_php_fpm,
)
from gateway.errors import ConfigurationError
from gateway.server.phpfpm import find_php_fpm
from tests.wsgate import dev

needs_php_fpm = pytest.mark.skipif(find_php_fpm() is None, reason="needs php-fpm")


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


class TestFolders:
    def test_each_folder_with_a_script_is_a_route(self, tmp_path: Path) -> None:
        write(tmp_path, {"b/ws.php": "", "a/ws.php": "", "c/other.php": "", ".git/ws.php": ""})

        routes = config_of(tmp_path).routes

        assert [(route.name, route.path, route.script) for route in routes] == [
            ("a", "/ws/a", "/a/ws.php"),
            ("b", "/ws/b", "/b/ws.php"),
        ]

    def test_a_script_in_the_folder_itself_is_ws(self, tmp_path: Path) -> None:
        write(tmp_path, {"ws.php": ""})

        (route,) = config_of(tmp_path).routes

        assert (route.path, route.script) == ("/ws", "/ws.php")

    def test_a_fragment_adds_to_its_folder(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            {
                "chat/ws.php": "",
                "chat/wsgate.yaml": "routes:\n- {path: '/ws/chat/{room}', events: [connect]}\n"
                "upstreams: {slow: {timeout: 60s, max_connections: 2}}\n",
            },
        )

        config = config_of(tmp_path)

        (route,) = config.routes
        assert (route.name, route.script, route.events) == ("chat", "/chat/ws.php", ("connect",))
        assert config.upstreams["slow"].document_root == str(tmp_path)
        assert children_for(config) == 7

    @pytest.mark.parametrize(
        ("fragment", "complaint"),
        [
            ("listen: 1", "chat/wsgate.yaml:1: listen: a folder can only say routes"),
            ("routes: x", "chat/wsgate.yaml:1: routes: expected a list"),
            ("routes: [", "chat/wsgate.yaml:1: not YAML"),
            ("- a", "chat/wsgate.yaml: expected keys such as routes:"),
            ("routes: [x]", "routes: expected a list of mappings"),
            ("routes: [{evnts: [connect]}]", "evnts: unknown key; did you mean events?"),
        ],
    )
    def test_a_mistake_in_a_fragment_names_the_file_or_the_key(
        self, tmp_path: Path, fragment: str, complaint: str
    ) -> None:
        write(tmp_path, {"chat/ws.php": "", "chat/wsgate.yaml": fragment})

        with pytest.raises(ConfigurationError) as caught:
            config_of(tmp_path)

        assert complaint in str(caught.value)

    def test_a_folder_without_scripts_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"no ws\.php here or in a folder below"):
            config_of(tmp_path)

    def test_every_upstream_goes_to_the_private_php_fpm(self, tmp_path: Path) -> None:
        write(tmp_path, {"ws.php": ""})
        config = config_of(tmp_path)

        private = with_private_php_fpm(config, Path("/s"), port=1000, internal_port=1001)

        upstream = private.upstreams["app"]
        assert [str(address) for address in upstream.address] == ["unix:/s"]
        assert upstream.keepalive
        assert upstream.params["WSGATE_API"] == "http://127.0.0.1:1001"
        assert str(private.listen[0]) == "127.0.0.1:1000"

    def test_an_example_path_matches_and_a_page_is_found(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            {
                "a/ws.php": "",
                "a/index.html": "",
                "a/wsgate.yaml": "routes: [{path: '/ws/{room}/{rest:.*}'}]",
            },
        )

        (route,) = config_of(tmp_path).routes

        assert example_path(route) == "/ws/lobby/rest"
        assert page_of(route, tmp_path) == "/examples/a/"


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@needs_php_fpm
class TestRunning:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return write(
            tmp_path / "app",
            {"hello/ws.php": "<?php echo 'Hello, ' . file_get_contents('php://input');"},
        )

    async def test_it_answers_and_ctrl_c_leaves_nothing_behind(
        self, folder: Path, tmp_path: Path, unused_tcp_port_factory
    ) -> None:
        ports = unused_tcp_port_factory(), unused_tcp_port_factory()
        async with dev(folder, tmp_path / "tmp", *ports) as running:
            group = running.php_fpm
            async with (
                aiohttp.ClientSession(f"http://127.0.0.1:{running.port}") as session,
                session.ws_connect("/ws/hello") as socket,
            ):
                await socket.send_str("PHP")
                assert await socket.receive_str(timeout=10) == "Hello, PHP"
                page = await session.get("/")
                assert page.status == 200
            running.process.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(running.process.wait(), 30) == 0

        assert not alive(group)
        assert list(running.temporary.iterdir()) == []

    async def test_a_killed_gateway_takes_its_php_fpm_along(
        self, folder: Path, tmp_path: Path, unused_tcp_port_factory
    ) -> None:
        ports = unused_tcp_port_factory(), unused_tcp_port_factory()
        async with dev(folder, tmp_path / "tmp", *ports) as running:
            group = running.php_fpm
            running.process.kill()
            await running.process.wait()

        async with asyncio.timeout(10):
            while alive(group):  # noqa: ASYNC110 - another process's end sets no event
                await asyncio.sleep(0.02)

    async def test_routes_may_come_from_a_file(
        self, folder: Path, tmp_path: Path, unused_tcp_port_factory
    ) -> None:
        file = tmp_path / "wsgate.yaml"
        file.write_text(
            f"upstreams: {{app: {{address: '127.0.0.1:1', document_root: {folder}}}}}\n"
            "routes: [{path: /elsewhere, upstream: app, script: /hello/ws.php}]\n"
        )
        ports = unused_tcp_port_factory(), unused_tcp_port_factory()
        async with (
            dev(folder, tmp_path / "tmp", *ports, "--config", str(file)) as running,
            aiohttp.ClientSession(f"http://127.0.0.1:{running.port}") as session,
            session.ws_connect("/elsewhere") as socket,
        ):
            await socket.send_str("file")
            assert await socket.receive_str(timeout=10) == "Hello, file"


async def complaint(*arguments: str, **environ: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway.cli.main",
        "dev",
        *arguments,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environ},
    )
    _, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    return err.decode()


async def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    said = await complaint(str(tmp_path / "missing"))

    assert said == f"Error: {tmp_path / 'missing'}: no such folder; say which: wsgate dev DIR\n"


@needs_php_fpm
async def test_a_port_that_is_taken_is_one_line(tmp_path: Path, unused_tcp_port: int) -> None:
    folder = write(tmp_path, {"ws.php": ""})
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", unused_tcp_port)
    async with server:
        said = await complaint(str(folder), "--port", str(unused_tcp_port))

    assert said.startswith(f"Error: cannot listen on 127.0.0.1:{unused_tcp_port}: ")
    assert said.count("\n") == 1
