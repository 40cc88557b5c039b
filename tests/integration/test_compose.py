"""nginx of docker-compose.yml with a real nginx and php-fpm: which files are pages."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from gateway.server.phpfpm import PrivatePhpFpm, find_php_fpm

ROOT = Path(__file__).parents[2]
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")
PARAMS = Path("/etc/nginx/fastcgi_params")
pytestmark = [
    pytest.mark.skipif(find_php_fpm() is None, reason="needs php-fpm"),
    pytest.mark.skipif(NGINX is None or not PARAMS.is_file(), reason="needs nginx"),
]


@pytest.fixture
async def port(tmp_path: Path, unused_tcp_port: int) -> AsyncIterator[int]:
    folder = tmp_path / "nginx"
    folder.mkdir()
    with PrivatePhpFpm(ROOT / "php-example", children=2, on_line=lambda _: None) as php_fpm:
        block = (ROOT / "conf" / "compose" / "nginx.conf").read_text()
        for old, new in (
            ("listen 80;", f"listen 127.0.0.1:{unused_tcp_port};"),
            ("http://php:8080", "http://127.0.0.1:1"),
            ("unix:/run/php/php-fpm.sock", f"unix:{php_fpm.socket}"),
            ("include fastcgi_params", f"include {PARAMS}"),
        ):
            assert block.count(old) == 1, old
            block = block.replace(old, new)
        block = block.replace("/srv/app", str(ROOT / "php-example"))
        temporary = "\n".join(
            f"{name}_temp_path {folder}/{name};"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        file = folder / "nginx.conf"
        file.write_text(
            f"daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log stderr;\n"
            f"events {{}}\nhttp {{\naccess_log off;\n{temporary}\n{block}\n}}\n"
        )
        process = await asyncio.create_subprocess_exec(
            *(str(NGINX), "-p", str(folder), "-c", str(file), "-e", "stderr"),
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await _answers(unused_tcp_port)
            yield unused_tcp_port
        finally:
            process.terminate()
            await process.wait()


async def _answers(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            await writer.wait_closed()
            return


async def test_pages_are_served_and_run_and_nothing_else(port: int) -> None:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        for path, status in (
            ("stocks/", 200),
            ("stocks/stocks.js", 200),
            ("page.css", 200),
            ("echo/ws.php", 403),
            ("stocks/wsgate.yaml", 403),
            ("stocks/redis.yaml", 403),
            ("stocks/nothing.php", 404),
        ):
            async with session.get(f"/examples/{path}") as answer:
                assert (path, answer.status) == (path, status)
        async with session.post("/examples/notify/notify.php", data={"user": "a"}) as answer:
            assert (answer.status, await answer.text()) == (422, "a user and a text are needed\n")
