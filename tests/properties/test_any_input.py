"""Whatever strangers send to the parsers that face them gives a value or an error of ours.

The parsers of frames, FastCGI records, replies, rules, tokens and positions have such tests
beside their own; here are the others.
"""

import contextlib

import msgspec
from aiohttp.http import HttpVersion11
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.api.batch import message_of, read_line
from gateway.channels.names import check
from gateway.errors import ChannelNameError, MessageError
from gateway.transports import deflate, handshake
from gateway.transports.head import RequestHead
from gateway.transports.longpoll import resume_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
NAMES = st.sampled_from(["channel", "data", "content_type", "encoding", "idempotency_key", "more"])
LINES = st.dictionaries(NAMES, JSON | st.sampled_from(["base64", "text/plain", "a"])).map(
    msgspec.json.encode
)


@given(st.binary() | LINES)
def test_any_line_of_a_batch_is_a_message_or_an_error(line: bytes) -> None:
    with contextlib.suppress(MessageError):
        item = read_line(line)
        assert isinstance(item.channel, str)
        assert isinstance(message_of(item, "").data, bytes)


@given(st.text())
def test_any_name_is_a_channels_or_refused(name: str) -> None:
    with contextlib.suppress(ChannelNameError):
        assert check(name) == name
        assert not set(name) & set("*> \r\n\0")
        assert len(name.encode()) <= 255


HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("Upgrade", "Connection", "Host", "Content-Length", "Transfer-Encoding"),
                *("Sec-WebSocket-Version", "Sec-WebSocket-Key", "Sec-WebSocket-Protocol"),
                *("Sec-WebSocket-Extensions", "If-Modified-Since", "If-None-Match", "Accept"),
            ]
        ),
        st.text(max_size=40)
        | st.sampled_from(
            ["websocket", "Upgrade", "13", "0", "dGhlIHNhbXBsZSBub25jZQ==", "permessage-deflate"]
        ),
    ),
    max_size=12,
)


@given(HEADERS, st.sampled_from(["GET", "POST"]), st.text(max_size=20))
def test_any_head_is_a_handshake_or_refused(
    given_headers: list[tuple[str, str]], method: str, target: str
) -> None:
    headers = CIMultiDictProxy(CIMultiDict(given_headers))
    head = RequestHead(method, target, HttpVersion11, headers)
    refused = handshake.validate(head)
    if refused is not None:
        assert refused.status in {400, 405, 426}
        assert handshake.encode_refusal(refused).count(b"\r\n\r\n") == 1
    handshake.is_upgrade(headers)
    resume_of(headers)
    bits, answer = deflate.negotiate(",".join(headers.getall("Sec-WebSocket-Extensions", ())))
    assert bool(bits) == bool(answer)
