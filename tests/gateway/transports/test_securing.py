"""TLS: what is said through it, and what becomes of handshakes that are never finished."""

import asyncio
import contextlib
import os
import resource
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from gateway.clock import ManualClock
from gateway.tasks import TaskSet
from gateway.transports.doorman import Refusal
from gateway.transports.front import Entrance
from gateway.transports.securing import SecureListener
from tests.certificates import self_signed

from .conftest import UPGRADE, Porter, eventually, page
from .test_guard import frame


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    self_signed(folder)
    return folder


@asynccontextmanager
async def secured(
    porter: Porter, certificate: Path
) -> AsyncIterator[tuple[SecureListener, int, ssl.SSLContext]]:
    """A front door behind TLS: its port, and what clients trust it by."""
    entrance = Entrance(doorman=porter, plain=web.Server(page), clock=ManualClock())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "certificate.pem", certificate / "key.pem")
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    tasks = TaskSet()
    port = listening.getsockname()[1]
    listener = SecureListener(listening, entrance, context, timeout=0.5, tasks=tasks)
    try:
        yield listener, port, ssl.create_default_context(cafile=certificate / "certificate.pem")
    finally:
        listener.close()
        listener.close()
        await eventually(lambda: not porter.inside and not len(tasks))
        entrance.close()


async def test_tls_works_and_a_failure_is_still_told(certificate) -> None:
    porter = Porter()
    async with secured(porter, certificate) as (_, port, trusting):
        async with connect(f"wss://localhost:{port}/ws/a", ssl=trusting) as client:
            await client.send("x")
            assert await client.recv() == "x"
            assert porter.asked[0].scheme == "https"
        reader, writer = await asyncio.open_connection("localhost", port, ssl=trusting)
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(frame(b"x", 5))
        assert (await reader.readexactly(4))[2:] == struct.pack("!H", 1002)
        writer.close()
        porter.answer = lambda handshake, admission: admission.refuse(Refusal(403))
        with pytest.raises(InvalidStatus, match="403"):
            await connect(f"wss://localhost:{port}/ws/a", ssl=trusting)


async def test_a_tls_handshake_that_fails_or_never_comes_is_ended(certificate) -> None:
    porter = Porter()
    async with secured(porter, certificate) as (_, port, _):
        for said in (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(said)
            async with asyncio.timeout(20):
                with contextlib.suppress(ConnectionError):
                    await reader.read()
            writer.close()
    assert not porter.asked


async def test_who_comes_while_no_descriptor_is_left_is_served_when_there_is_one(
    certificate,
) -> None:
    porter = Porter()
    loop = asyncio.get_running_loop()
    async with secured(porter, certificate) as (listener, port, trusting):
        waiting = socket.socket()
        waiting.setblocking(False)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (waiting.fileno() + 1, limits[1]))
        taken = []
        try:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.dup(waiting.fileno()))
            await loop.sock_connect(waiting, ("127.0.0.1", port))
            await eventually(lambda: listener.waits)
        finally:
            for number in taken:
                os.close(number)
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        url = f"wss://localhost:{port}/ws/a"
        async with asyncio.timeout(20), connect(url, ssl=trusting, sock=waiting) as client:
            await client.send("x")
            assert await client.recv() == "x"
