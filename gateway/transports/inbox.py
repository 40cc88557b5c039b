"""Where aiohttp's WebSocket reader puts what it has read.

The reader wants a queue to be emptied by a task. Ours calls the connection instead, at once, so
a frame costs neither a task nor a future nor a place in a queue.
"""

import asyncio
from typing import Protocol

from aiohttp._websocket.reader import WebSocketDataQueue
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import WebSocketReader, WSMessage, WSMessageTextBytes

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
    error: BaseException | None

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(BaseProtocol(loop), 1 << 16, loop=loop)
        self.recipient = None
        self.error = None

    def pass_on(
        self, reader: WebSocketReader, data: bytes, recipient: Recipient
    ) -> Exception | None:
        """Feed the reader on behalf of the recipient; the reader's error, if it found one."""
        # Letting one client in can be a consequence of another's message: calls may nest.
        outer = self.recipient
        self.recipient = recipient
        try:
            failed, _ = reader.feed_data(data)
        finally:
            self.recipient = outer
        if not failed:
            return None
        error, self.error = self.error, None
        return error if isinstance(error, Exception) else RuntimeError("the reader has failed")

    def feed_data(self, data: Message, size: int) -> None:  # noqa: ARG002 - the reader's interface
        """Called by the reader for everything it has read."""
        if self.recipient is not None:
            self.recipient.take(data)

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        """Called by the reader before it reports failure."""
        exc.__cause__ = exc_cause
        self.error = exc
