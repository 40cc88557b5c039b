"""Where aiohttp's WebSocket reader puts what it has read.

The reader wants a queue to be emptied by a task. Ours calls the connection instead, at once, so
a frame costs neither a task nor a future nor a place in a queue.
"""

import asyncio
from typing import Protocol

from aiohttp._websocket.reader import WebSocketDataQueue
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import WebSocketError, WSCloseCode, WSMessage, WSMessageTextBytes

Message = WSMessage | WSMessageTextBytes


class Recipient(Protocol):
    """Whose bytes are being read."""

    def take(self, message: Message) -> None:
        """One message or control frame, unmasked; must not raise."""


class Inbox(WebSocketDataQueue):
    """One for all connections of a worker: it knows whose bytes are being read just now.

    A queue of its own would cost every connection a kilobyte that it never uses.
    """

    recipient: Recipient | None
    """Set by whoever feeds a reader, and put back afterwards."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(BaseProtocol(loop), 1 << 16, loop=loop)
        self.recipient = None
        self._error: BaseException | None = None

    def feed_data(self, data: Message, size: int) -> None:  # noqa: ARG002 - the reader's interface
        """Called by the reader for everything it has read."""
        if self.recipient is not None:
            self.recipient.take(data)

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        """Called by the reader before it reports failure."""
        exc.__cause__ = exc_cause
        self._error = exc

    def take_error(self) -> tuple[int, str]:
        """Close code and reason of the failure that a reader has just reported."""
        error, self._error = self._error, None
        if isinstance(error, WebSocketError):
            return int(error.code), str(error)
        # What is no WebSocketError comes out of zlib: the stream is no deflate stream.
        return WSCloseCode.INVALID_TEXT, "cannot be inflated"
