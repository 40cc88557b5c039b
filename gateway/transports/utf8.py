"""Tells that a text is not UTF-8 while it is still arriving, masked and in fragments.

A message in one frame is checked when it is whole. One in many fragments may never be, so the
bytes are unmasked and decoded along the way, and thrown away: only the decoder's few bytes of
state remain.
"""

import codecs
from typing import Final

_decoder: Final = codecs.getincrementaldecoder("utf-8")


def is_utf8(payload: bytes) -> bool:
    """Whether the whole of it is."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


class MaskedText:
    """The text of one fragmented message."""

    __slots__ = ("_decode", "_mask")

    def __init__(self) -> None:
        self._decode = _decoder().decode
        self._mask = b""

    def begin(self, mask: bytes) -> None:
        """The next frame starts, with its own masking key."""
        self._mask = mask

    def feed(self, masked: bytes) -> None:
        """The next bytes of the frame; raises UnicodeDecodeError at the first bad one."""
        size = len(masked)
        key = (self._mask * (size // 4 + 1))[:size]
        plain = int.from_bytes(masked, "little") ^ int.from_bytes(key, "little")
        turn = size % 4
        self._mask = self._mask[turn:] + self._mask[:turn]
        self._decode(plain.to_bytes(size, "little"))
