"""The way out of a WebSocket: messages to frames, frames to the socket."""

import asyncio
from collections.abc import Callable
from typing import Final

from gateway.sessions.client import TransportKind

from . import deflate
from .closing import CLOSED, OPEN, State
from .frames import COMPRESSED, Opcode, encode

PLAIN: Final = "websocket"

_PING: Final = encode(b"", Opcode.PING)
_TEXT_FRAME: Final = int(Opcode.TEXT)
_BINARY_FRAME: Final = int(Opcode.BINARY)


class Outlet(asyncio.Protocol):
    """The sending half of `sessions.client.Client`. `window_bits` is 0 without compression."""

    kind = TransportKind.WEBSOCKET

    __slots__ = ("_state", "_transport", "_window_bits", "congested", "encoding", "write")

    def __init__(self, transport: asyncio.Transport, window_bits: int) -> None:
        self._transport = transport
        self._window_bits = window_bits
        self._state: State = OPEN
        # Windows differ, so do the bytes; without compression all clients share them.
        self.encoding: object = (deflate.EXTENSION, window_bits) if window_bits else PLAIN
        self.congested = False
        """Whether the client does not take what was written."""
        self.write: Callable[[bytes], None] = transport.write
        """Hands encoded frames to the socket. The transport's own as long as the connection is
        open: a method around it would cost a call for each of thousands of deliveries."""

    def encode(self, payload: bytes, *, text: bool) -> bytes:
        """One frame, compressed where that was negotiated and is worth it."""
        opcode = _TEXT_FRAME if text else _BINARY_FRAME
        if self._window_bits and len(payload) >= deflate.WORTHWHILE:
            return encode(deflate.compress(payload, self._window_bits), opcode | COMPRESSED)
        return encode(payload, opcode)

    def buffered(self) -> int:
        """Bytes not yet taken by the kernel; what this turn of the loop wrote is among them."""
        return 0 if self._state is CLOSED else self._transport.get_write_buffer_size()

    def ping(self) -> None:
        """Ask for a pong, unless the client does not even take what was written before."""
        if not self.congested:
            self.write(_PING)

    def _stop_writing(self) -> None:
        """Nothing follows a close frame."""
        self.write = _drop


def _drop(_encoded: bytes) -> None:
    """The connection is not open any more."""
