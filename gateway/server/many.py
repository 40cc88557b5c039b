"""The gateway as many processes: binds the addresses, runs the supervisor, obeys signals."""

import asyncio
import signal
import socket
from importlib.metadata import version
from typing import Any, Final

import structlog

from gateway import logs
from gateway.config.model import Config
from gateway.transports.descriptors import raise_limit

from .listeners import SocketFile, bind, bind_again, file_of, remove
from .loop import Loop
from .notify import Notifier
from .place import Place
from .reload import Load, beat, reload_on
from .supervisor import Supervisor
from .tls import tls_context

log = structlog.get_logger()

_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def run_many(config: Config, *, load: Load | None = None, watchdog: int = 10) -> int:
    """Serve with `config.workers` processes until SIGTERM or SIGINT; the exit status.

    `watchdog` is how many seconds a worker may be silent. Raises ConfigurationError when an
    address cannot be listened on.
    """
    logs.configure(config.log.level, config.log.format)
    raise_limit()
    first: list[socket.socket] = []
    places: list[Place] = []
    files: list[SocketFile | None] = []
    try:
        # One by one: what was bound before one that cannot be is released again.
        first.extend(bind(address, shared=True) for address in config.listen)
        # One queue for all on the internal address: a caller must not wait for a worker that is
        # stopped while another one could answer.
        first.append(bind(config.internal.listen))
        files.extend(map(file_of, first))
        places.extend(_places(config, first))
        with asyncio.Runner(loop_factory=Loop) as runner:
            return runner.run(_serve(config, places, load, watchdog))
    finally:
        for listener in (*first, *(each for place in places for each in place.listeners)):
            listener.close()
        for file in files:
            remove(file)


def _places(config: Config, first: list[socket.socket]) -> list[Place]:
    """One place a worker, each with sockets of its own on the addresses that are bound."""
    places = []
    for number in range(1, config.workers + 1):
        mine = first if number == 1 else [bind_again(listener) for listener in first]
        places.append(Place(number, mine[:-1], mine[-1:]))
    return places


async def _serve(config: Config, places: list[Place], load: Load | None, watchdog: int) -> int:
    loop = asyncio.get_running_loop()
    notifier = Notifier()
    stop, hurry, reloads = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def on_stop() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, on_stop)
    loop.add_signal_handler(signal.SIGHUP, reloads.set)
    supervisor = Supervisor(config, places, watchdog=watchdog)
    await supervisor.start()
    starting = asyncio.ensure_future(supervisor.serving.wait())
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    tasks: list[asyncio.Future[None]] = []
    if starting.done() and not supervisor.failed:
        _say(config)
        notifier.ready()

        async def apply(after: Config) -> None:
            tls_context(after)
            logs.configure(after.log.level, after.log.format)
            await supervisor.reload(after)

        reloading = reload_on(reloads, load, lambda: supervisor.config, apply, notifier)
        tasks.append(asyncio.ensure_future(reloading))
        if notifier.watchdog_interval is not None:
            tasks.append(asyncio.ensure_future(beat(notifier, notifier.watchdog_interval)))
        await stopping
    notifier.stopping()
    waiting: list[asyncio.Future[Any]] = [*tasks, starting, stopping]
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await supervisor.stop(hurry)
    log.info("stopped")
    return 1 if supervisor.failed else 0


def _say(config: Config) -> None:
    log.info(
        "serving",
        version=version("wsgate"),
        listen=[str(address) for address in config.listen],
        internal=str(config.internal.listen),
        routes=[route.name for route in config.routes],
        workers=config.workers,
    )
