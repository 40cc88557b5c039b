"""Every way in which an upgrade can be wrong, judged without a socket."""

import pytest
from aiohttp.http import HttpVersion
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.transports.doorman import Refusal
from gateway.transports.handshake import encode_refusal, refusal, validate
from gateway.transports.head import RequestHead

GOOD = {
    "Host": "example.com",
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def head(
    changes: dict[str, str | None] | None = None,
    *,
    method: str = "GET",
    target: str = "/ws",
    version: tuple[int, int] = (1, 1),
) -> RequestHead:
    headers = CIMultiDict(GOOD)
    for name, value in (changes or {}).items():
        headers.popall(name, None)
        if value is not None:
            headers[name] = value
    return RequestHead(method, target, HttpVersion(*version), CIMultiDictProxy(headers))


def test_the_handshake_of_the_specification_is_good() -> None:
    assert validate(head()) is None


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (head(method="POST"), 405),
        (head(version=(1, 0)), 400),
        (head(target="http://example.com/ws"), 400),
        (head({"Host": None}), 400),
        (head({"Content-Length": "5"}), 400),
        (head({"Transfer-Encoding": "chunked"}), 400),
        (head({"Connection": "keep-alive"}), 400),
        (head({"Sec-WebSocket-Version": "8"}), 426),
        (head({"Sec-WebSocket-Version": None}), 426),
        (head({"Sec-WebSocket-Key": None}), 400),
        (head({"Sec-WebSocket-Key": "dGhlIHNhbXBsZQ=="}), 400),
        (head({"Sec-WebSocket-Key": "no base64 at all"}), 400),
        (head({"Sec-WebSocket-Protocol": "chat, not a token"}), 400),
    ],
)
def test_what_the_specification_forbids_is_refused(request_head: RequestHead, status: int) -> None:
    refused = validate(request_head)
    assert refused is not None
    assert refused.status == status


def test_only_version_13_is_offered_to_whoever_speaks_another() -> None:
    refused = validate(head({"Sec-WebSocket-Version": "14"}))
    assert refused is not None
    assert ("Sec-WebSocket-Version", "13") in refused.headers


def test_a_refusal_carries_its_length_and_ends_the_connection() -> None:
    answer = encode_refusal(refusal(403, "No."))
    assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert b"Connection: close\r\n" in answer
    assert answer.endswith(b"Content-Length: 4\r\n\r\nNo.\n")


def test_a_status_without_a_body_sends_none() -> None:
    answer = encode_refusal(Refusal(304, (), b"surplus"))
    assert b"Content-Length" not in answer
    assert not answer.endswith(b"surplus")


def test_a_status_that_nobody_has_named_is_sent_with_a_phrase() -> None:
    assert encode_refusal(Refusal(499)).startswith(b"HTTP/1.1 499 Refused\r\n")
