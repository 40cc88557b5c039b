"""What others publish with NOTIFY: LISTEN on the first subscriber, UNLISTEN after the last.

Every worker listens for itself, on one connection a source, and delivers to its own subscribers;
nothing is kept. In `mode: channel` the NOTIFY channel is the channel, less what `strip` takes
off its beginning. In `mode: payload` one NOTIFY channel carries `{"channel","data"}`.

While the server is away, subscribers stay; when it is back, everything is listened to again and
they are told of the possible gap.
"""

import asyncio
from collections import deque
from typing import Final

import msgspec
import structlog

from gateway.channels.publication import JSON_TYPE, TEXT_TYPE, Message
from gateway.channels.publishing import Source
from gateway.channels.service import ChannelService
from gateway.config.services import PostgresSource as Settings
from gateway.errors import (
    ChannelNameError,
    ConfigurationError,
    DatabaseUnavailableError,
    MessageError,
    QueryError,
)
from gateway.logs import Throttle
from gateway.remote.backoff import Backoff
from gateway.remote.postgres import MAX_NAME, Listener
from gateway.routing.patterns import Pattern
from gateway.tasks import TaskSet

log: Final = structlog.get_logger()

_COMMAND: Final = 3.0
_FAILURES: Final = (DatabaseUnavailableError, ConfigurationError, QueryError, TimeoutError)


class _Payload(msgspec.Struct):
    channel: str
    data: msgspec.Raw


_payload: Final = msgspec.json.Decoder(_Payload).decode


class PostgresSource:
    """Fulfils `channels.joining.Feed`. `start`, then `stop`; both from within the event loop."""

    def __init__(
        self,
        settings: Settings,
        dsn: str,
        channels: ChannelService,
        *,
        ping_interval: float = 5.0,
        backoff: Backoff | None = None,
    ) -> None:
        self._match = Pattern(settings.match)
        self._strip = settings.strip
        self._notify = settings.notify
        self._dsn = dsn
        self._channels = channels
        self._ping_interval = ping_interval
        self._backoff = backoff or Backoff(0.05, 2.0)
        # The channels of subscribers, by the NOTIFY name that serves them; what is listened to.
        self._wanted: dict[str, set[str]] = {}
        self._listening: set[str] = set()
        self._changed: deque[str] = deque()
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._wake = asyncio.Event()
        self._connected = False
        self._tasks = TaskSet()
        self._hostile = Throttle()
        self._told = False
        self.ready = False
        """Whether everything that is wanted is listened to."""

    def start(self) -> None:
        """Connect in the background, and again after every loss."""
        self._tasks.spawn(self._keep_connected(), name="postgres source")

    async def stop(self) -> None:
        """Hear nothing any more. Idempotent."""
        await self._tasks.close()

    async def want(self, channel: str) -> None:
        """Listen before the subscriber is let in; at once when the server is away.

        Raises ChannelNameError where NOTIFY cannot have the name.
        """
        if not self._match.matches(channel):
            return
        name = self._name(channel)
        self._wanted.setdefault(name, set()).add(channel)
        if name in self._listening or not self._connected:
            return
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, []).append(waiting)
        self._change(name)
        await waiting

    def unwant(self, channel: str) -> None:
        """Stop listening, unless somebody wants it again meanwhile."""
        name = self._notify or channel.removeprefix(self._strip)
        channels = self._wanted.get(name)
        if channels is None or channel not in channels:
            return
        channels.discard(channel)
        if not channels:
            del self._wanted[name]
            self._change(name)

    def _name(self, channel: str) -> str:
        """The NOTIFY channel; ChannelNameError for one that could never be notified."""
        if self._notify:
            return self._notify
        name = channel.removeprefix(self._strip)
        if not name:
            raise ChannelNameError(channel, "nothing is left of the name for NOTIFY")
        size = len(name.encode())
        if size > MAX_NAME:
            # LISTEN would cut the name silently, and hear what is meant for another one.
            raise ChannelNameError(channel, f"{size} bytes, NOTIFY has at most {MAX_NAME}")
        return name

    def _change(self, name: str) -> None:
        if self._connected:
            self._changed.append(name)
            self._wake.set()

    async def _keep_connected(self) -> None:
        while True:
            try:
                listener = await Listener.connect(self._dsn, self._heard)
            except _FAILURES as exc:
                if not self._told:
                    log.warning("PostgreSQL cannot be reached", reason=str(exc) or "no answer")
                self._told = True
                await asyncio.sleep(self._backoff.pause())
                continue
            try:
                await self._serve(listener)
            except _FAILURES as exc:
                log.warning("PostgreSQL is lost", reason=str(exc) or "no answer")
                self._told = True
            finally:
                self._let_go()
                listener.drop()
            await asyncio.sleep(self._backoff.pause())

    def _let_go(self) -> None:
        self._connected = self.ready = False
        self._listening.clear()
        self._changed.clear()
        # Who waits is let in: it will be told of the gap.
        for waiting in self._waiting.values():
            _release(waiting)
        self._waiting.clear()

    async def _serve(self, listener: Listener) -> None:
        self._connected = True
        missed = [channel for channels in self._wanted.values() for channel in channels]
        self._changed.extend(self._wanted)
        while True:
            while self._changed:
                await self._settle(listener, self._changed.popleft())
            if not self.ready:
                self.ready = True
                if self._told:
                    self._told = False
                    log.info("PostgreSQL is heard again")
                self._backoff.reset()
                for channel in missed:
                    self._channels.on_gap(channel)
            self._wake.clear()
            await self._idle(listener)

    async def _settle(self, listener: Listener, name: str) -> None:
        """Make what is listened to what is wanted now, whatever was asked in between."""
        if name in self._wanted and name not in self._listening:
            try:
                await listener.listen(name, _COMMAND)
            except MessageError as exc:
                # The server's encoding has no such character: nobody can NOTIFY it either.
                for waiting in self._waiting.pop(name, ()):
                    if not waiting.done():
                        waiting.set_exception(ChannelNameError(name, str(exc)))
                return
            self._listening.add(name)
        elif name not in self._wanted and name in self._listening:
            self._listening.discard(name)
            await listener.unlisten(name, _COMMAND)
        _release(self._waiting.pop(name, ()))

    async def _idle(self, listener: Listener) -> None:
        """Wait for something to do; raise when the connection is lost or gives no sign of life."""
        wake = asyncio.ensure_future(self._wake.wait())
        lost = asyncio.ensure_future(listener.lost.wait())
        try:
            await asyncio.wait(
                (wake, lost), timeout=self._ping_interval, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            wake.cancel()
            lost.cancel()
        if listener.lost.is_set():
            raise DatabaseUnavailableError("the connection has ended")
        if not self._wake.is_set():
            await listener.ping(_COMMAND)

    def _heard(self, name: str, payload: str) -> None:
        if self._notify:
            self._heard_payload(payload)
            return
        # publish_here sends as binary what turns out not to be UTF-8.
        message = Message(payload.encode("utf-8", "surrogateescape"), TEXT_TYPE)
        for channel in tuple(self._wanted.get(name, ())):
            self._channels.publish_here(channel, message, source=Source.POSTGRES)

    def _heard_payload(self, payload: str) -> None:
        try:
            found = _payload(payload)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            if self._hostile.allows():
                log.warning(
                    'dropped a NOTIFY that is not {"channel","data"}',
                    name=self._notify,
                    bytes=len(payload),
                    **self._hostile.taken(),
                )
            return
        if found.channel in self._wanted.get(self._notify, ()):
            message = Message(bytes(found.data), JSON_TYPE)
            self._channels.publish_here(found.channel, message, source=Source.POSTGRES)


def _release(waiting: "list[asyncio.Future[None]] | tuple[()]") -> None:
    for future in waiting:
        if not future.done():
            future.set_result(None)
