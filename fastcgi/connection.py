"""One socket to php-fpm and the exchange it carries.

The socket is watched with `loop.add_reader` instead of being given to a transport: a transport
is not faster here, and it hides what the rule for sending again rests on (whether a send was
accepted at all, whether the peer closed one side or both, whether it has read what we wrote).
Decisions about other connections and other exchanges belong to the owner.
"""

import asyncio
import contextlib
import select
import socket
from array import array
from collections.abc import Callable
from fcntl import ioctl
from typing import Final, cast

from .address import UnixAddress
from .endpoint import Endpoint
from .errors import FastCGIError, ReceiverError, RequestTimeoutError, WriteTimeoutError
from .exchange import Exchange
from .head import Head
from .limits import Limits
from .owner import Owner
from .protocol import IDLE as _READER_IDLE
from .protocol import ResponseReader
from .response import Response
from .retry import POLLRDHUP, is_half_closed, judge
from .slot import Slot, State

# include/uapi/asm-generic/ioctls.h: bytes in the send queue; for a unix socket those that the
# peer has not read. A write is released as a whole, when its last byte has been read.
_TIOCOUTQ: Final = 0x5411
# Filled in place: twice as fast as having ioctl() make bytes.
_unread: Final = array("i", [0])
_CHUNK: Final = 65536
_EMPTY: Final = memoryview(b"")


class Connection(Slot):
    """An open, non-blocking socket and its place in the books.

    The owner moves it from state to state; `exchange` is set exactly while it is busy. `keep` says
    whether it may carry another one then. After `close` it calls nobody any more.
    """

    __slots__ = (
        "_discarded",
        "_ending",
        "_fd",
        "_is_tcp",
        "_look",
        "_loop",
        "_max_response",
        "_owner",
        "_paused",
        "_pending",
        "_poll",
        "_reader",
        "_recv",
        "_send",
        "_sock",
        "_used",
        "exchange",
        "keep",
        "sent_at",
    )

    def __init__(
        self,
        sock: socket.socket,
        endpoint: Endpoint,
        owner: Owner,
        *,
        loop: asyncio.AbstractEventLoop,
        max_response: int,
    ) -> None:
        super().__init__(endpoint)
        self.exchange: Exchange | None = None
        self.keep = False
        self.sent_at = 0.0
        self._owner = owner
        self._loop = loop
        self._max_response = max_response
        self._reader = ResponseReader(max_response=max_response)
        self._is_tcp = not isinstance(endpoint.address, UnixAddress)
        # What the kernel has not accepted yet.
        self._pending = _EMPTY
        # Whether it has answered before; whether our side ends after the last pending byte.
        self._used = False
        self._ending = False
        self._discarded = 0
        self._paused = False
        self._sock = sock
        self._fd = sock.fileno()
        self._recv: Callable[[int], bytes] = sock.recv
        self._send: Callable[[bytes | memoryview], int] = sock.send
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN | POLLRDHUP)
        self._look = self._poll.poll
        loop.add_reader(self._fd, self._on_readable)

    @property
    def used(self) -> bool:
        """Whether it has carried an answer before."""
        return self._used

    def is_clean(self) -> bool:
        """Whether nothing has arrived on a connection where nothing is due: no EOF, no data."""
        return not self._look(0)

    def has_settled(self) -> bool:
        """Whether the application has read all we sent, to the last record of the last request.

        PHP never reads the empty STDIN record while a script runs, only when it comes back for
        the next request. So this tells a child that is idle from one whose script goes on after
        fastcgi_finish_request(), where END_REQUEST does not. TCP acknowledges what nobody has
        read, so there the answer is always yes.
        """
        if self._is_tcp:
            return True
        ioctl(self._fd, _TIOCOUTQ, _unread)
        return _unread[0] == 0

    def send(self, exchange: Exchange, data: bytes, now: float, *, keep: bool) -> bool:
        """Begin `exchange`; False if the peer took nothing, and the connection is of no use."""
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return False
        if exchange.stream:
            exchange.carrier = self
            self._reader.start(exchange.on_body)
        else:
            self._reader.start()
        self.exchange = exchange
        self.keep = keep
        self.sent_at = exchange.sent_at = now
        exchange.expires_at = now + exchange.timeout
        exchange.attempts += 1
        if sent != len(data):
            self._pending = memoryview(data)[sent:]
            self._loop.add_writer(self._fd, self._on_writable)
        if self._is_tcp:
            self._acknowledge_at_once()
        return True

    @property
    def head(self) -> Head | None:
        """The head of the answer under way, while a streamed body comes."""
        return self._reader.head

    def pause(self) -> None:
        """Read nothing more of the answer under way, until it is given up or read on."""
        if not self._paused and self.exchange is not None:
            self._paused = True
            self._loop.remove_reader(self._fd)

    def resume(self) -> None:
        """Read on; nothing happens where nothing was paused."""
        if self._paused:
            self._paused = False
            self._loop.add_reader(self._fd, self._on_readable)

    def overdue(self, now: float, limits: Limits) -> FastCGIError | None:
        """The deadline that has passed, None while all are kept."""
        elapsed = now - self.sent_at
        if self._pending and elapsed >= limits.write_timeout:
            return WriteTimeoutError(limits.write_timeout)
        exchange = self.exchange
        if exchange is None:
            return None
        if now >= exchange.expires_at:
            late = WriteTimeoutError if self._pending else RequestTimeoutError
            return late(exchange.timeout)
        first_byte = limits.first_byte_timeout
        if first_byte is not None and elapsed >= first_byte and not self._reader.bytes_seen:
            return RequestTimeoutError(first_byte)
        return None

    def abandon(self) -> None:
        """Let go of the exchange, without ending the script: nothing can do that.

        What is not written yet is still written, because PHP would execute a body cut short.
        Then our side is closed, everything that comes is discarded, and the owner hears of the
        end (`broken`) when php-fpm is through with the script and closes its side. There is no
        other bound than php-fpm's own (request_terminate_timeout): closing earlier would free our
        place but not the child, and every timeout would put one more script on a hung php-fpm.
        """
        self.exchange = None
        self._reader.close()
        self.resume()
        if self._pending:
            self._ending = True
        else:
            self.end_writing()

    def end_writing(self) -> None:
        """Close our side, whether or not all was written."""
        self._stop_writing()
        self._ending = True
        with contextlib.suppress(OSError):  # the peer has gone; its EOF is about to be read
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the socket; nobody is called any more."""
        self._reader.close()
        self._stop_writing()
        self._paused = False
        self._loop.remove_reader(self._fd)
        self._sock.close()

    def _on_readable(self) -> None:
        try:
            data = self._recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._on_end(reset=True)
            return
        if not data:
            self._on_end(reset=False)
            return
        if self._is_tcp:
            self._acknowledge_at_once()
        exchange = self.exchange
        if exchange is None:
            self._on_unasked(len(data))
            return
        try:
            response = self._reader.feed(data)
        except FastCGIError as error:
            self._owner.broken(self, error, judge(exchange, error))
            return
        except Exception as error:  # noqa: BLE001 - on_body is foreign; others are still to be read
            context = {"message": "Exchange.on_body raised", "exception": error}
            self._loop.call_exception_handler(context)
            self._owner.broken(self, ReceiverError(), None)
            return
        if response is not None:
            # An answer that came before the request was out leaves a rest that nobody reads.
            if self._pending or self._reader.state is not _READER_IDLE:
                self.keep = False
            self._used = True
            self.resume()
            self._owner.answered(self, exchange, response)

    def _on_unasked(self, size: int) -> None:
        if self.state is State.DRAINING:
            self._discarded += size
            if self._discarded <= self._max_response:
                return
            # Closing makes PHP's next write fail, which ends a script that writes without end.
        self._owner.broken(self, None, None)

    def _on_end(self, *, reset: bool) -> None:
        exchange = self.exchange
        if exchange is None:
            self._owner.broken(self, None, None)
            return
        retired = self._used and not self._is_tcp and not reset and is_half_closed(self._poll)
        try:
            response = self._reader.feed_eof()
        except FastCGIError as error:
            retry = judge(exchange, error, retired=retired)
            self._owner.broken(self, error, retry)
        else:
            self.keep = False
            # Never None: an exchange is under way.
            self._owner.answered(self, exchange, cast(Response, response))

    def _on_writable(self) -> None:
        try:
            sent = self._send(self._pending)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            # The peer reads no more. It may have answered all the same: reading will tell.
            self._stop_writing()
            return
        if sent < len(self._pending):
            self._pending = self._pending[sent:]
            return
        self._stop_writing()
        if self._ending:
            self.end_writing()

    def _stop_writing(self) -> None:
        if self._pending:
            self._pending = _EMPTY
            self._loop.remove_writer(self._fd)

    def _acknowledge_at_once(self) -> None:
        """php-fpm leaves Nagle's algorithm on: without our ACK the rest of an answer waits 40 ms.

        The kernel forgets the option after a while, so it is set again around every read.
        """
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
