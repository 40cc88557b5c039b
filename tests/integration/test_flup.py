"""flup, a FastCGI server that shares no line with ours and none with PHP, answers our client."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fastcgi import params
from fastcgi.address import UnixAddress
from fastcgi.limits import Limits
from fastcgi.pool import Pool
from tests.fastcgi.exchanges import until

SERVER = """
import sys
from flup.server.fcgi import WSGIServer

def application(environ, start_response):
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"] or 0))
    start_response("201 Created", [("Content-Type", "text/plain"), ("X-Name", environ["NAME"])])
    return [body[::-1]]

WSGIServer(application, bindAddress=sys.argv[1], multiplexed=False).run()
"""


@pytest.fixture
def address() -> Iterator[UnixAddress]:
    """Its own process: its warnings are not those of the test."""
    with TemporaryDirectory(prefix="wsgate-flup-") as folder:
        path = str(Path(folder) / "flup.sock")
        command = [sys.executable, "-W", "ignore", "-c", SERVER, path]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
            try:
                yield UnixAddress(path)
            finally:
                server.kill()


@pytest.mark.parametrize("size", [0, 1, 8192, 65528, 65529, 1_000_000])
async def test_an_independent_server_understands_us_and_we_understand_it(address, size):
    body = bytes(number % 251 for number in range(size))
    pool = Pool([address], Limits(retry_for=20, queue_timeout=30))
    try:
        for name in ("first", "x" * 200):
            given = {
                # flup fails when it wants to warn of one that is missing.
                "SCRIPT_NAME": "/",
                "QUERY_STRING": "",
                "PATH_INFO": "",
                "REQUEST_METHOD": "POST",
                "SERVER_NAME": "localhost",
                "SERVER_PORT": "80",
                "SERVER_PROTOCOL": "HTTP/1.1",
                "NAME": name,
                "CONTENT_LENGTH": str(size),
            }
            blocks = (params.encode(given.items()),)
            response = await pool.request(blocks, body, timeout=20, script="/")
            assert (response.status, response.body) == (201, body[::-1])
            assert ("x-name", name) in [(key.lower(), value) for key, value in response.headers]
        await until(lambda: pool.statistics().open == 0)
        assert pool.statistics().errors == {}
    finally:
        await pool.close()
