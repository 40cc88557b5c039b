"""The gateway as a process: from a configuration to an exit status."""

import asyncio
import signal
import socket
from collections.abc import Callable
from typing import Final

import structlog

from gateway import logs
from gateway.brokers.make import make_broker
from gateway.config.model import Config
from gateway.transports.descriptors import raise_limit

from . import garbage
from .accounts import VERSION
from .listeners import SocketFile, bind, file_of, release, remove
from .loop import Loop
from .notify import Notifier
from .public import Extend
from .reload import Load, beat, reload_on
from .worker import Worker

log = structlog.get_logger()

OnReady = Callable[[Worker], None]
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def run(
    config: Config,
    *,
    load: Load | None = None,
    extend: Extend | None = None,
    on_ready: OnReady | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; the exit status.

    `load` reads the configuration anew at SIGHUP. `extend` adds pages to the public listener.
    Raises ConfigurationError when it cannot start.
    """
    logs.configure(config.log.level, config.log.format)
    raise_limit()
    public: list[socket.socket] = []
    internal: list[socket.socket] = []
    files: list[SocketFile | None] = []
    try:
        # One by one: what was bound before one that cannot be is released again.
        public.extend(bind(address) for address in config.listen)
        internal.append(bind(config.internal.listen))
        # The worker closes its listeners when it stops; what they are called is known only now.
        files += map(file_of, (*public, *internal))
        with asyncio.Runner(loop_factory=Loop) as runner:
            worker = Worker(config, make_broker(config.broker), extend=extend)
            runner.run(_serve(worker, public, internal, load=load, on_ready=on_ready))
    finally:
        for listener in (*public, *internal):
            release(listener)
        for file in files:
            remove(file)
    return 0


async def _serve(
    worker: Worker,
    public: list[socket.socket],
    internal: list[socket.socket],
    *,
    load: Load | None,
    on_ready: OnReady | None,
) -> None:
    loop = asyncio.get_running_loop()
    notifier = Notifier()
    config = worker.config
    stop, hurry = asyncio.Event(), asyncio.Event()

    def on_stop() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, on_stop)
    reloads = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, reloads.set)
    await worker.start(public, internal)
    log.info(
        "serving",
        version=VERSION,
        listen=[str(address) for address in config.listen],
        internal=str(config.internal.listen),
        routes=list(worker.runtime.routes),
    )
    if on_ready is not None:
        on_ready(worker)
    notifier.ready()
    garbage.settle()

    async def apply(config: Config) -> None:
        await worker.reload(config)
        logs.configure(config.log.level, config.log.format)

    reloading = reload_on(reloads, load, lambda: worker.config, apply, notifier)
    tasks = [asyncio.ensure_future(reloading)]
    if notifier.watchdog_interval is not None:
        tasks.append(asyncio.ensure_future(beat(notifier, notifier.watchdog_interval)))
    await stop.wait()
    notifier.stopping()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await worker.stop(hurry)
    log.info("stopped")
