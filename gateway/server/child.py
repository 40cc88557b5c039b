"""A worker's process: `python -m gateway.server.child`, started by the supervisor only.

It is handed listening sockets by number, learns the configuration from the hub, and drains when
the supervisor says so, or dies.
"""

import asyncio
import contextlib
import ctypes
import faulthandler
import json
import os
import pickle
import signal
import socket
import sys
from typing import Any, Final

import structlog

from gateway import logs
from gateway.brokers.hub_broker import HubBroker
from gateway.brokers.hub_client import HubClient
from gateway.brokers.hub_wire import Op
from gateway.brokers.make import make_broker
from gateway.config.model import Config
from gateway.errors import BrokerUnavailableError, ConfigurationError
from gateway.sessions.identity import new_node

from . import garbage
from .company import Company
from .loop import Loop
from .place import CANNOT_START, SPEC
from .worker import Worker

log = structlog.get_logger()

_BEAT: Final = 1.0
_PAUSE: Final = 0.2
_PR_SET_PDEATHSIG: Final = 1


def main() -> int:
    """Serve until the supervisor wants it otherwise; the exit status."""
    spec = json.loads(os.environ.pop(SPEC))
    faulthandler.enable()
    # A terminal sends Ctrl-C to everybody; the supervisor alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _follow(spec["parent"])
    structlog.contextvars.bind_contextvars(worker=spec["number"])
    logs.configure("info", "console")
    try:
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(_serve(spec))
    except ConfigurationError as exc:
        log.error("worker cannot start", problems=str(exc))  # noqa: TRY400 - no traceback helps
        return CANNOT_START
    return 0


def _follow(parent: int) -> None:
    """Be told to drain when the supervisor is no more, also if that has happened already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(0)


async def _serve(spec: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    client = HubClient(spec["hub"], new_node())
    company = Company(client)
    reloads: asyncio.Queue[tuple[bytes, asyncio.Future[bytes]]] = asyncio.Queue()

    def on_configure(body: bytes) -> asyncio.Future[bytes]:
        done: asyncio.Future[bytes] = loop.create_future()
        reloads.put_nowait((body, done))
        return done

    client.handlers[Op.CONFIGURE] = on_configure
    await client.start()
    beat = asyncio.ensure_future(_beat(client))
    config = _config(await _ask_for_configuration(client))
    logs.configure(config.log.level, config.log.format)
    broker = (
        HubBroker(client)
        if config.broker.type == "memory"
        else make_broker(config.broker, node=client.node)
    )
    worker = Worker(config, broker, company=company)
    try:
        await worker.start(
            [socket.socket(fileno=number) for number in spec["public"]],
            [socket.socket(fileno=number) for number in spec["internal"]],
        )
        loop.add_signal_handler(signal.SIGQUIT, _on_hurry, stop, hurry)
        reloading = asyncio.ensure_future(_reload(worker, reloads))
        client.on_connected.append(lambda: client.tell(Op.READY, b""))
        client.tell(Op.READY, b"")
        log.debug("worker serves", pid=os.getpid(), node=client.node)
        garbage.settle()
        await stop.wait()
        reloading.cancel()
        await asyncio.gather(reloading, return_exceptions=True)
        await worker.stop(hurry)
    finally:
        beat.cancel()
        await asyncio.gather(beat, return_exceptions=True)
        await client.stop()


async def _ask_for_configuration(client: HubClient) -> bytes:
    while True:
        try:
            return await client.call(Op.CONFIGURE, b"")
        except BrokerUnavailableError as exc:
            log.warning("no configuration yet", error=str(exc))
            await asyncio.sleep(_PAUSE)


def _on_hurry(stop: asyncio.Event, hurry: asyncio.Event) -> None:
    stop.set()
    hurry.set()


async def _beat(client: HubClient) -> None:
    """Tell that the event loop turns."""
    while True:
        client.tell(Op.BEAT, b"")
        await asyncio.sleep(_BEAT)


async def _reload(
    worker: Worker, reloads: asyncio.Queue[tuple[bytes, asyncio.Future[bytes]]]
) -> None:
    while True:
        body, done = await reloads.get()
        try:
            config = _config(body)
            await worker.reload(config)
        except Exception as exc:  # noqa: BLE001 - whoever asked is told
            if not done.done():
                done.set_exception(exc)
        else:
            if not done.done():
                done.set_result(b"")


def _config(body: bytes) -> Config:
    # From our own supervisor: the hub's socket is that of a process of the same user.
    config: Config = pickle.loads(body)  # noqa: S301
    return config


if __name__ == "__main__":
    status = 1
    with contextlib.suppress(KeyboardInterrupt):
        status = main()
    sys.exit(status)
