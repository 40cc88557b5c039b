"""The short way of a publication: the common request, answered in the callback that brings it.

Nearly all callers send the same: `POST /channels/NAME`, in one piece, with nothing unusual in its
head. aiohttp's parser reads it, the channel service posts it, and the answer is written without a
task and without aiohttp's server, which take two thirds of the time of a publication. Everything
else (another call, a query, a body that comes in pieces, a page's Origin, a wrong key, a bad name)
goes with its connection to that server, from its first byte: what is refused is refused there
alone. A connection never comes back from there.
"""

import asyncio
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, cast

import msgspec
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import HttpProcessingError, HttpRequestParser, RawRequestMessage

from gateway.channels.broker import Outcome, Receipt
from gateway.channels.publication import Message
from gateway.channels.publishing import Source
from gateway.errors import GatewayError

from .answers import PROTECTION, RETRY_AFTER, TRY_AGAIN, describe, shown_receipt
from .bodies import message_of
from .guard import admits
from .services import CURRENT

SILENCE: Final = 3600.0
"""Seconds after which a connection without a request is closed."""

_LONGEST: Final = 64 * 1024  # in one piece; more may need flow control, which is aiohttp's
_SWEEP: Final = 60.0
_BEGINNING: Final = b"POST /channels/"
_name_in: Final = re.compile(r"/channels/([A-Za-z0-9_:-][A-Za-z0-9_.:-]*)").fullmatch
_API: Final = Source.API
_HEAD: Final = "\r\n".join(
    (
        "HTTP/1.1 %d %s",
        "Content-Type: application/json; charset=utf-8",
        *(f"{name}: {value}" for name, value in PROTECTION.items()),
        "Content-Length: %d",
        "Date: %s",
        "%s\r\n",
    )
)
_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}


class Express:
    """The factory of the internal listener's connections; owns one timer.

    `plain` makes the protocol of those that go to aiohttp's server, which serves `app`.
    """

    def __init__(self, plain: Callable[[], asyncio.Protocol], app: web.Application) -> None:
        self.plain = plain
        self.current = app[CURRENT]
        self.loop = asyncio.get_running_loop()
        self.base = BaseProtocol(self.loop)
        self.closing = False
        self.callers: set[Caller] = set()
        self._sweeping = self.loop.call_later(_SWEEP, self.sweep)

    def __call__(self) -> "Caller":
        """For `loop.create_server`."""
        return Caller(self)

    def close(self) -> None:
        """End the connections: those that wait for an answer once they have it. Idempotent."""
        self.closing = True
        self._sweeping.cancel()
        for caller in tuple(self.callers):
            caller.end()

    def sweep(self) -> None:
        """End the connections of callers that have been silent for too long; done every minute."""
        oldest = self.loop.time() - SILENCE
        for caller in tuple(self.callers):
            if caller.heard_at < oldest:
                caller.end()
        self._sweeping = self.loop.call_later(_SWEEP, self.sweep)


class Caller(asyncio.Protocol):
    """A connection of the internal listener, until it goes to aiohttp's server."""

    __slots__ = ("_express", "_parser", "_transport", "_waiting", "heard_at")

    def __init__(self, express: Express) -> None:
        self._express = express
        self._transport: asyncio.Transport | None = None
        self._parser: HttpRequestParser | None = None
        self._waiting = False
        self.heard_at = express.loop.time()

    def end(self) -> None:
        """Close, unless an answer is under way."""
        if not self._waiting and self._transport is not None:
            self._transport.close()

    # The loop's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for what is asked."""
        self._transport = cast("asyncio.Transport", transport)
        self._express.callers.add(self)

    def data_received(self, data: bytes) -> None:
        """Publish, or let aiohttp's server do what is asked."""
        transport = self._transport
        if transport is None:
            return
        self.heard_at = self._express.loop.time()
        if not (data.startswith(_BEGINNING) and len(data) <= _LONGEST and self._published(data)):
            self._hand_over(transport, data)

    def pause_writing(self) -> None:
        """The caller asks but does not read: nothing more is taken from it."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The caller reads."""
        transport = self._transport
        if transport is not None and not self._waiting and not transport.is_closing():
            transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the loop's interface
        """The caller has gone; what it published is published."""
        self._express.callers.discard(self)
        self._transport = None

    # The request.

    def _published(self, data: bytes) -> bool:
        """Whether this was a publication; if not, nothing has been done."""
        read = self._read(data)
        if read is None:
            return False
        name, message = read
        channels = self._express.current.services.channels
        try:
            receipt = channels.post(name, message, source=_API, done=self._answer)
        except GatewayError:
            return False  # it would fail again, and be told so
        if receipt is not None:
            self._answer(receipt)
        else:
            self._waiting = True
            if self._transport is not None:
                self._transport.pause_reading()
        return True

    def _read(self, piece: bytes) -> tuple[str, Message] | None:
        """The channel and the message, of a request that is whole and usual."""
        express = self._express
        if self._parser is None:
            self._parser = HttpRequestParser(express.base, express.loop, _LONGEST)
        try:
            requests, upgraded, rest = self._parser.feed_data(piece)
        except HttpProcessingError:
            return None
        if len(requests) != 1 or upgraded or rest:
            return None
        head, body = requests[0]
        found = _name_in(head.path)
        if found is None or not body.is_eof() or not self._usual(head):
            return None
        data = body.read_nowait()
        if len(data) > express.current.services.max_body:
            return None
        try:
            return found[1], message_of(head.headers, data)
        except web.HTTPException:
            return None

    def _usual(self, head: RawRequestMessage) -> bool:
        headers = head.headers
        return (
            not head.should_close
            and "Content-Encoding" not in headers
            and "Origin" not in headers
            and "Expect" not in headers
            and admits(headers, self._express.current.services.api_key, self._transport)
        )

    def _hand_over(self, transport: asyncio.Transport, data: bytes) -> None:
        self._express.callers.discard(self)
        self._transport = self._parser = None
        plain = self._express.plain()
        transport.set_protocol(plain)
        plain.connection_made(transport)
        plain.data_received(data)

    def _answer(self, outcome: Outcome) -> None:
        transport = self._transport
        if transport is None:
            return
        more = ""
        if isinstance(outcome, Receipt):
            status, told = 201 if outcome.subscribers else 202, shown_receipt(outcome)
        else:
            status, told = describe(outcome)
            if status in TRY_AGAIN:
                more = f"Retry-After: {RETRY_AFTER}\r\n"
        body = msgspec.json.encode(told) + b"\n"
        head = _HEAD % (status, _REASONS[status], len(body), rfc822_formatted_time(), more)
        transport.write(head.encode() + body)
        if self._waiting:
            self._waiting = False
            if self._express.closing:
                transport.close()
            elif not transport.is_closing():
                transport.resume_reading()
