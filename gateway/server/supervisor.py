"""Many workers on one machine: starts them, replaces those that die, and holds the hub.

It accepts no client itself. Every worker has listening sockets of its own on the same addresses
(SO_REUSEPORT), so that the kernel spreads the connections; the supervisor keeps them open for
whoever comes after a worker that died. It does little and imports little: what it does not do
cannot take the channels down with it.
"""

import asyncio
import os
import pickle
import signal
import socket
import time
from collections.abc import Iterable
from typing import Any, Final

import structlog

from gateway.brokers.hub_channels import HubChannels
from gateway.brokers.hub_server import Hub, Node, address
from gateway.brokers.hub_wire import Frame, Op
from gateway.config.model import Config
from gateway.errors import BrokerError

from .lending import Lending
from .office import Office, encode
from .place import CANNOT_START, Place, cause_of

log = structlog.get_logger()

_BEAT: Final = 1.0
_STARTING: Final = 30
"""Beats that a worker may take to start."""
_LAST_WORDS: Final = 1.0
_HURRY: Final = 0.6
_RESERVE: Final = 3.0
_APPLYING: Final = 30.0


class Supervisor:
    """Made and run inside the event loop. `watchdog` is how many beats a worker may miss."""

    def __init__(self, config: Config, places: list[Place], *, watchdog: int = 10) -> None:
        self.config = config
        self.places = places
        self.serving = asyncio.Event()
        """Set when every worker has served for the first time, or when that cannot be."""
        self.failed = False
        self._watchdog = watchdog
        self._address = address()
        self._hub = Hub()
        self._channels = HubChannels(self._hub)
        self._office = Office(self._hub, self._facts)
        self._lending = Lending(self._hub)
        self._pickled = b""
        self._replaced = 0
        self._started_at = time.monotonic()
        self._dying: set[str] = set()
        self._timers: dict[Place, asyncio.TimerHandle] = {}
        self._beat: asyncio.TimerHandle | None = None
        self._stopping = False
        self._ended = asyncio.Event()
        self._reasons: list[str] = []

    async def start(self) -> None:
        """Open the hub and start the workers; `serving` tells when they serve."""
        hub = self._hub
        hub.lives = self._lives
        hub.on_attached.append(self._on_attached)
        hub.on_detached.append(self._on_detached)
        hub.handlers |= {
            Op.CONFIGURE: lambda _node, _frame: self._pickled,
            Op.READY: self._on_ready,
            Op.BEAT: self._on_beat,
        }
        self._configure(self.config)
        await hub.listen(self._address)
        self._channels.start()
        for place in self.places:
            self._start(place)
        self._beat = asyncio.get_running_loop().call_later(_BEAT, self._look)

    async def reload(self, config: Config) -> None:
        """Serve by another configuration from now on, in all workers and those that follow."""
        self._configure(config)
        # Who dies meanwhile has lost its place in the books when it is named.
        numbers = {name: self._number(name) for name in self._hub.nodes}
        answers = await asyncio.gather(
            *(self._hub.ask(name, Op.CONFIGURE, self._pickled, _APPLYING) for name in numbers),
            return_exceptions=True,
        )
        for number, answer in zip(numbers.values(), answers, strict=True):
            if isinstance(answer, BrokerError):
                # One that died or is away reads the new configuration when it comes back.
                log.error("a worker did not reload", worker=number, error=str(answer))
            elif isinstance(answer, BaseException):
                log.error("reload failed", worker=number, exc_info=answer)

    async def stop(self, hurry: asyncio.Event) -> None:
        """Let all workers drain at once; `hurry` ends it within a second."""
        self._stopping = True
        for timer in self._timers.values():
            timer.cancel()
        for place in self.places:
            _close(place.public)
            place.signal(signal.SIGTERM)
        self._look_whether_all_ended()
        hurrying = asyncio.ensure_future(hurry.wait())
        ended = asyncio.ensure_future(self._ended.wait())
        patience = self.config.shutdown.timeout + _RESERVE
        await asyncio.wait({hurrying, ended}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            for place in self.places:
                place.signal(signal.SIGQUIT)
            await asyncio.wait({ended}, timeout=_HURRY)
        for place in self.places:
            place.signal(signal.SIGKILL)
        await ended
        hurrying.cancel()
        await asyncio.gather(hurrying, return_exceptions=True)
        await self._close()

    async def _close(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
        self._lending.stop()
        self._channels.stop()
        await self._hub.close()

    def _configure(self, config: Config) -> None:
        self.config = config
        self._pickled = pickle.dumps(config)
        self._lending.serve(
            {name: upstream.max_connections for name, upstream in config.upstreams.items()}
        )

    # Processes.

    def _start(self, place: Place) -> None:
        self._timers.pop(place, None)
        if place.resting and not self._woken(place):
            self._timers[place] = asyncio.get_running_loop().call_later(_BEAT, self._start, place)
            return
        ended = place.start(self._address)
        asyncio.get_running_loop().add_reader(ended, self._on_end, place, ended)
        log.debug("worker started", worker=place.number, pid=place.pid)

    def _on_end(self, place: Place, ended: int) -> None:
        asyncio.get_running_loop().remove_reader(ended)
        os.close(ended)
        pid, node, lived = place.pid, place.node, place.lived
        status = place.ended()
        if node in self._hub.nodes:
            # What it said last is still on its way.
            self._dying.add(node)
        elif node:
            self._bury(node)
        if self._stopping:
            _close(place.listeners)
            self._look_whether_all_ended()
            return
        if status == CANNOT_START and not self.serving.is_set():
            self.failed = True
            self.serving.set()
            return
        self._replaced += 1
        log.error(
            "worker died", worker=place.number, pid=pid, **cause_of(status), lived=round(lived)
        )
        pause = place.restarts.died(lived)
        if pause:
            loop = asyncio.get_running_loop()
            if pause > _BEAT and self._awake(place) is not None:
                place.rest()
            self._timers[place] = loop.call_later(pause, self._start, place)
        else:
            self._start(place)
        self._judge()

    def _awake(self, but: Place) -> Place | None:
        """Another place whose sockets are open."""
        return next((each for each in self.places if each is not but and not each.resting), None)

    def _woken(self, place: Place) -> bool:
        other = self._awake(place)
        if other is None:
            return False
        try:
            place.wake(other)
        except OSError as exc:
            log.error("a worker cannot listen again", worker=place.number, error=str(exc))  # noqa: TRY400 - it is tried again
            return False
        return True

    def _look_whether_all_ended(self) -> None:
        if all(place.process is None for place in self.places):
            self._ended.set()

    def _bury(self, node: str) -> None:
        self._lending.bury(node)
        self._office.bury(node)
        self._bequeath()

    def _bequeath(self) -> None:
        """Somebody who serves tells PHP of those who were connected to a dead worker."""
        heir = next((place.node for place in self.places if place.ready), None)
        if heir is not None:
            self._office.bequeath(heir)

    def _look(self) -> None:
        """Once a beat: who has not been heard of, and who has proven to live."""
        self._beat = asyncio.get_running_loop().call_later(_BEAT, self._look)
        for place in self.places:
            if place.process is None or place.condemned:
                continue
            place.silent += 1
            if place.silent > (self._watchdog if place.ready else _STARTING):
                self._condemn(place)
            elif place.ready:
                place.restarts.lives(place.lived)
        self._judge()

    def _condemn(self, place: Place) -> None:
        place.condemned = True
        log.error("worker is silent", worker=place.number, pid=place.pid, seconds=place.silent)
        # Its faulthandler writes down where it hangs; then it must go, whatever it does.
        place.signal(signal.SIGABRT)
        process = place.process
        asyncio.get_running_loop().call_later(
            _LAST_WORDS,
            lambda: place.signal(signal.SIGKILL) if place.process is process else None,
        )

    def _judge(self) -> None:
        """Tell every worker why the whole is not ready, when that has changed."""
        reasons = [
            f"worker {place.number} keeps dying ({place.restarts.in_a_row} times in a row)"
            for place in self.places
            if place.restarts.crash_loop
        ]
        if reasons != self._reasons:
            self._reasons = reasons
            self._hub.tell_all(Op.SITUATION, encode(reasons))

    # What workers say.

    def _on_attached(self, node: Node) -> None:
        place = self._place(node)
        if place is None:
            log.error("the hub does not know this process", pid=node.pid)
            node.link.abort()
            return
        place.node = node.name
        node.link.tell(Op.SITUATION, encode(self._reasons))

    def _on_detached(self, node: Node) -> None:
        if node.name in self._dying:
            self._dying.discard(node.name)
            self._bury(node.name)

    def _on_ready(self, node: Node, _frame: Frame) -> None:
        place = self._place(node)
        if place is not None:
            place.ready = True
            place.silent = 0
            self._bequeath()
            if all(place.ready for place in self.places):
                self.serving.set()

    def _on_beat(self, node: Node, _frame: Frame) -> None:
        place = self._place(node)
        if place is not None:
            place.silent = 0

    def _place(self, node: Node) -> Place | None:
        return next((place for place in self.places if place.pid == node.pid), None)

    def _lives(self, name: str) -> bool:
        return any(place.node == name and place.process is not None for place in self.places)

    def _number(self, name: str) -> int:
        return next((place.number for place in self.places if place.node == name), 0)

    def _facts(self) -> dict[str, Any]:
        own: dict[str, Any] = {"wsgate_worker_restarts_total": [[[], self._replaced]]}
        if self.config.broker.type == "memory":
            own["wsgate_channels"] = [[[], len(self._channels.books)]]
        return {
            "workers": len(self.places),
            "processes": [place.describe() for place in self.places],
            "uptime": round(time.monotonic() - self._started_at),
            "own": own,
        }


def _close(listeners: Iterable[socket.socket]) -> None:
    for listener in listeners:
        listener.close()
