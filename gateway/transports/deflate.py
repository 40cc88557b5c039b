"""permessage-deflate towards the client (RFC 7692), without context between messages.

The server always answers with `server_no_context_takeover`: a message compresses to the same
bytes for every client with the same window, so a publication is compressed once. Inflating what
clients send is left to aiohttp's reader, which stops at the size limit.
"""

import re
import zlib
from typing import Final

from aiohttp.http import ws_ext_gen, ws_ext_parse

EXTENSION: Final = "permessage-deflate"
WORTHWHILE: Final = 128
"""Smaller messages are sent as they are: they would not shrink."""

_WINDOW: Final = "server_max_window_bits"
_VALUELESS: Final = re.compile(rf"{_WINDOW}\s*(;|$)")
_LARGEST_WINDOW: Final = 15
_TAIL: Final = b"\x00\x00\xff\xff"


def negotiate(offer: str) -> tuple[int, str]:
    """The window bits and our answer to a Sec-WebSocket-Extensions header.

    (0, "") when nothing in the offer can be accepted.
    """
    # aiohttp's parser finds the name anywhere, so other extensions are taken out first.
    offers = [part.strip() for part in offer.split(",")]
    ours = [part for part in offers if part.partition(";")[0].strip().lower() == EXTENSION]
    for part in ours:
        _, semicolon, rest = part.partition(";")
        bits, _ = ws_ext_parse(EXTENSION + semicolon + rest, isserver=True)
        if not bits or _VALUELESS.search(rest):
            continue
        answer = ws_ext_gen(bits, isserver=True, server_notakeover=True)
        # aiohttp leaves the default out, but an offer with this parameter is only accepted by
        # an answer that has it (RFC 7692 section 7.1.2.1).
        if bits == _LARGEST_WINDOW and _WINDOW in rest:
            answer += f"; {_WINDOW}={bits}"
        return bits, answer
    return 0, ""


def compress(payload: bytes, window_bits: int) -> bytes:
    """The payload of one frame with RSV1 set (RFC 7692 section 7.2.1)."""
    squeeze = zlib.compressobj(wbits=-window_bits)
    return (squeeze.compress(payload) + squeeze.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)
