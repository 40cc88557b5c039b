"""One end of a connection between the hub and a worker: calls with deadlines, batched writes.

Both ends are alike: either may call the other, answer, or tell something. What an operation means
is the owner's affair. Everything said within one turn of the event loop goes out with one write.
"""

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Protocol, cast

import structlog

from gateway.errors import BrokerUnavailableError, GatewayError

from .hub_messages import Failed, decode_failed, pack
from .hub_wire import CALL, REPLY, TELL, Frame, Kind, Op, Splitter, WireError, encode

log = structlog.get_logger()

TIMEOUT: Final = 5.0
UNSENT: Final = 64 * 1024 * 1024
"""Bytes that may wait for a peer that does not read; past them the connection is given up."""
_TICK: Final = 0.25
_CREDENTIALS: Final = struct.Struct("3i")


class Owner(Protocol):
    """Whoever has one end. Called from the event loop; never waits."""

    def on_frame(self, link: "Link", frame: Frame) -> bytes | Awaitable[bytes] | None:
        """A call or something told; what is returned answers a call, None answers with nothing.

        A GatewayError that is raised goes to the caller.
        """

    def on_lost(self, link: "Link") -> None:
        """The connection is gone, and every call on it has failed."""


Conclusion = Callable[[bytes | GatewayError], None]
"""Told the answer of a call, or why there is none."""


class Link(asyncio.Protocol):
    """See the module's docstring. Made for one connection, inside the event loop."""

    def __init__(self, owner: Owner) -> None:
        self.peer = self.user = 0
        """The process at the other end and its user, as the kernel knows them."""
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._splitter = Splitter()
        self._transport: asyncio.Transport | None = None
        self._pending: dict[int, tuple[Conclusion, float]] = {}
        self._answering: set[asyncio.Future[bytes]] = set()
        self._number = 0
        self._out: list[bytes] = []
        self._flushing = False
        self._ticker: asyncio.TimerHandle | None = None

    @property
    def connected(self) -> bool:
        """Whether something can be said."""
        return self._transport is not None

    # The loop's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        peer = cast("socket.socket", transport.get_extra_info("socket"))
        raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        self.peer, self.user, _ = _CREDENTIALS.unpack(raw)

    def data_received(self, data: bytes) -> None:
        """Do what the peer says; what it says wrongly ends the connection."""
        try:
            frames = self._splitter.feed(data)
        except WireError as exc:
            log.error("the hub's connection is broken", error=str(exc))  # noqa: TRY400 - the peer's mistake has no traceback here
            self.abort()
            return
        for frame in frames:
            if frame.kind is CALL or frame.kind is TELL:
                self._obey(frame)
            else:
                self._conclude(frame)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the loop's interface
        """Fail every call that is under way, at once."""
        self._transport = None
        self._out.clear()
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        pending, self._pending = self._pending, {}
        for done, _ in pending.values():
            self._tell(done, BrokerUnavailableError("the hub is away"))
        for answering in tuple(self._answering):
            answering.cancel()
        self._owner.on_lost(self)

    # The owner's side.

    def call(self, op: Op, body: bytes, timeout: float = TIMEOUT) -> asyncio.Future[bytes]:
        """Ask the peer; the future fails with its error, or when the time is over."""
        future: asyncio.Future[bytes] = self._loop.create_future()
        try:
            self.ask(op, body, partial(_settle, future), timeout)
        except GatewayError as exc:
            future.set_exception(exc)
        return future

    def ask(self, op: Op, body: bytes, done: Conclusion, timeout: float = TIMEOUT) -> None:
        """Ask the peer; `done` is called once, later, and must not raise.

        Raises BrokerUnavailableError where nothing can be asked.
        """
        if self._transport is None:
            raise BrokerUnavailableError("the hub is away")
        self._number = number = self._number % 0xFFFFFFFF + 1
        data = encode(CALL, op, number, body)
        self._pending[number] = (done, time.monotonic() + timeout)
        if self._ticker is None:
            self._ticker = self._loop.call_later(_TICK, self._tick)
        self._write(data)

    def tell(self, op: Op, body: bytes) -> None:
        """Say something that needs no answer; without a connection it is lost."""
        self.write(encode(TELL, op, 0, body))

    def write(self, frame: bytes) -> None:
        """A frame that is encoded already, because many get the same."""
        if self._transport is not None:
            self._write(frame)

    def close(self) -> None:
        """Say what is unsaid, then end."""
        if self._transport is not None:
            self._flush()
            self._transport.close()

    def abort(self) -> None:
        """End now."""
        if self._transport is not None:
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        self._out.append(data)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        transport, out = self._transport, self._out
        if transport is None or not out:
            return
        transport.write(out[0] if len(out) == 1 else b"".join(out))
        out.clear()
        if transport.get_write_buffer_size() > UNSENT:
            log.error("the hub's connection is given up", unsent=transport.get_write_buffer_size())
            transport.abort()

    def _obey(self, frame: Frame) -> None:
        try:
            answer = self._owner.on_frame(self, frame)
        except GatewayError as exc:
            self._answer_failure(frame, exc)
        except Exception as exc:
            log.exception("a message of the hub failed", operation=frame.op.name)
            self._answer_failure(frame, exc)
        else:
            if answer is None or isinstance(answer, bytes):
                self._answer(frame, answer or b"")
            else:
                self._answer_later(frame, answer)

    def _answer_later(self, frame: Frame, answer: Awaitable[bytes]) -> None:
        future = asyncio.ensure_future(answer)
        self._answering.add(future)

        def done(future: asyncio.Future[bytes]) -> None:
            self._answering.discard(future)
            if future.cancelled():
                self._answer_failure(frame, BrokerUnavailableError("the hub is away"))
            elif (error := future.exception()) is None:
                self._answer(frame, future.result())
            else:
                if not isinstance(error, GatewayError):
                    log.error("an answer failed", operation=frame.op.name, exc_info=error)
                self._answer_failure(frame, error)

        future.add_done_callback(done)

    def _answer(self, frame: Frame, body: bytes) -> None:
        if frame.kind is CALL:
            try:
                self.write(encode(REPLY, frame.op, frame.number, body))
            except GatewayError as exc:
                self._answer_failure(frame, exc)

    def _answer_failure(self, frame: Frame, error: BaseException) -> None:
        if frame.kind is CALL:
            self.write(encode(Kind.FAILURE, frame.op, frame.number, pack(Failed.of(error))))

    def _conclude(self, frame: Frame) -> None:
        pending = self._pending.pop(frame.number, None)
        if pending is None:
            return  # too late: whoever called has been told so
        answer = frame.body if frame.kind is REPLY else decode_failed(frame.body).exception()
        self._tell(pending[0], answer)

    def _tell(self, done: Conclusion, answer: bytes | GatewayError) -> None:
        try:
            done(answer)
        except Exception:
            # Whoever asked is broken; the others on this connection are not.
            log.exception("an answer of the hub could not be taken")

    def _tick(self) -> None:
        now = time.monotonic()
        late = [number for number, (_, deadline) in self._pending.items() if deadline <= now]
        for number in late:
            done, _ = self._pending.pop(number)
            self._tell(done, BrokerUnavailableError("the hub is silent"))
        self._ticker = self._loop.call_later(_TICK, self._tick) if self._pending else None


def _settle(future: asyncio.Future[bytes], answer: bytes | GatewayError) -> None:
    if future.done():
        return
    if isinstance(answer, bytes):
        future.set_result(answer)
    else:
        future.set_exception(answer)
        # Somebody who has stopped waiting need not be told.
        future.exception()
