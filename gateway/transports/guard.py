"""What a client's frames must obey, decided on their headers before anything is stored.

The guard reads along: it sees every chunk first, follows frame headers across chunk borders and
raises `FrameError` where RFC 6455 section 5 or one of our limits is broken. aiohttp's reader
unmasks and assembles behind it and never sees a byte of the offending frame; it accepts unmasked
frames and treats its size limit as exclusive, which is why it is not left alone.

The payload of close frames is judged by `websocket` once the reader has unmasked it.
"""

from typing import Final

from gateway.codes import CloseCode
from gateway.errors import GatewayError

from .utf8 import MaskedText

MAX_FRAGMENTS: Final = 1024

_FIN: Final = 0x80
_RSV: Final = 0x70
_RSV1: Final = 0x40
_MASKED: Final = 0x80
_CONTINUATION: Final = 0x0
_TEXT: Final = 0x1
_BINARY: Final = 0x2
_CLOSE: Final = 0x8
_CONTROL: Final = frozenset({_CLOSE, 0x9, 0xA})
_DATA: Final = frozenset({_CONTINUATION, _TEXT, _BINARY})
_WHOLE: Final = (_FIN | _TEXT, _FIN | _BINARY)

_MASK_SIZE: Final = 4
_LENGTH_16: Final = 126
_LENGTH_64: Final = 127
_HEADER: Final = 2 + _MASK_SIZE
"""Bytes of a masked header whose length is below 126."""


class FrameError(GatewayError):
    """The client broke the protocol or a limit; the connection ends with `code`.

    `offset` is where in the chunk the offending frame begins: what stands before it is good.
    """

    def __init__(self, code: int, reason: str, offset: int = 0) -> None:
        super().__init__(reason)
        self.code, self.reason, self.offset = code, reason, offset


class FrameGuard:
    """Reads along with one connection. After a FrameError or a close frame it must rest."""

    __slots__ = (
        "_announced",
        "_closes",
        "_control",
        "_final",
        "_fragments",
        "_head",
        "_need",
        "_over",
        "_rsv1",
        "_shortest",
        "_text",
        "ended",
        "held",
        "max_message",
        "unfinished",
    )

    def __init__(self, max_message: int, *, compressed: bool = False) -> None:
        self.max_message = max_message
        self._rsv1 = _RSV1 if compressed else 0
        self._shortest = min(_HEADER + _LENGTH_16 - 1, _HEADER + max_message)
        self._need = 0
        self._head = b""
        self._announced = 0
        self._fragments = 0
        self._final = False
        self._control = False
        self._closes = False
        self._over = False
        self._text: MaskedText | None = None
        self.ended = False
        """Whether a message ended in the last chunk that was more than one small frame."""
        self.held = 0
        """Bytes received of the message that is unfinished."""
        self.unfinished = False
        """Whether the last chunk ended inside a message or a frame."""

    def feed(self, data: bytes) -> None:
        """Judge the next chunk; what it raises, it raises before the reader sees the chunk."""
        size = len(data)
        # Nearly every chunk of a live connection is exactly one small masked data frame; its
        # second byte then is 0x80 + (size - 6).
        if (
            not self.unfinished
            and _HEADER <= size <= self._shortest
            and data[1] == size + (_MASKED - _HEADER)
            and data[0] in _WHOLE
        ):
            return
        self.ended = False
        self._follow(data)
        self.unfinished = not self._over and bool(self._need or self._head or self._fragments)
        if not self.unfinished:
            self.held = 0

    def _follow(self, chunk: bytes) -> None:
        earlier = len(self._head)
        data = self._head + chunk if earlier else chunk
        self._head = b""
        position, end = 0, len(data)
        while position < end and not self._over:
            if self._need == 0:
                try:
                    size = self._open_frame(data, position)
                except FrameError as error:
                    error.offset = max(0, position - earlier)
                    raise
                if size == 0:
                    self._head = data[position:]
                    return
                position += size
            position = self._take_payload(data, position, min(end, position + self._need), earlier)

    def _open_frame(self, data: bytes, start: int) -> int:
        """Judge the header at `start`; its size, or 0 while it is incomplete."""
        available = len(data) - start
        if available < 2:  # noqa: PLR2004 - flags and length stand in the first two bytes
            return 0
        first, second = data[start], data[start + 1]
        opcode, length = first & 0x0F, second & 0x7F
        self._judge(first, opcode, length, masked=bool(second & _MASKED))
        extended = 2 if length == _LENGTH_16 else 8 if length == _LENGTH_64 else 0
        if available < 2 + extended:
            return 0
        if extended:
            length = int.from_bytes(data[start + 2 : start + 2 + extended], "big")
            if length < _LENGTH_16 or (extended == 8 and length <= 0xFFFF):  # noqa: PLR2004
                raise FrameError(CloseCode.PROTOCOL_ERROR, "length not in its shortest form")
        if opcode in _DATA and self._announced + length > self.max_message:
            raise FrameError(CloseCode.TOO_BIG, f"message exceeds {self.max_message} bytes")
        size = _HEADER + extended
        if available < size:
            return 0
        self._enter(first, opcode, length, data[start + size - _MASK_SIZE : start + size])
        return size

    def _judge(self, first: int, opcode: int, length: int, *, masked: bool) -> None:
        if not masked:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "frame is not masked")
        rsv = first & _RSV
        # RFC 7692 section 6: RSV1 marks the first frame of a compressed message only.
        if rsv and (rsv != self._rsv1 or opcode not in {_TEXT, _BINARY}):
            raise FrameError(CloseCode.PROTOCOL_ERROR, "reserved bit set")
        if opcode in _CONTROL:
            if not first & _FIN:
                raise FrameError(CloseCode.PROTOCOL_ERROR, "control frame is fragmented")
            if length >= _LENGTH_16:
                raise FrameError(CloseCode.PROTOCOL_ERROR, "control frame exceeds 125 bytes")
            return
        if opcode not in _DATA:
            raise FrameError(CloseCode.PROTOCOL_ERROR, f"unknown opcode {opcode}")
        if opcode == _CONTINUATION and not self._fragments:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "continuation of no message")
        if opcode != _CONTINUATION and self._fragments:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "new message inside an unfinished one")
        if self._fragments >= MAX_FRAGMENTS:
            raise FrameError(CloseCode.TOO_BIG, f"message has more than {MAX_FRAGMENTS} fragments")

    def _enter(self, first: int, opcode: int, length: int, mask: bytes) -> None:
        self._need = length
        self._control = opcode in _CONTROL
        if self._control:
            self._closes = opcode == _CLOSE
            return
        self._final = bool(first & _FIN)
        self._fragments += 1
        self._announced += length
        if opcode == _TEXT and not self._final and not first & _RSV1:
            self._text = MaskedText()
        if self._text is not None:
            self._text.begin(mask)

    def _take_payload(self, data: bytes, start: int, stop: int, earlier: int) -> int:
        taken = stop - start
        self._need -= taken
        if not self._control:
            self.held += taken
        if self._text is not None and not self._control and taken:
            try:
                self._text.feed(data[start:stop])
            except UnicodeDecodeError:
                raise FrameError(
                    CloseCode.INVALID_TEXT, "not UTF-8", max(0, start - earlier)
                ) from None
        if self._need == 0:
            self._leave()
        return stop

    def _leave(self) -> None:
        """The frame's payload is complete."""
        if self._control:
            self._over = self._closes
        elif self._final:
            self._fragments = 0
            self._announced = 0
            self.held = 0
            self.ended = True
            self._text = None
