"""Long poll: a GET that waits for the next message of a queue.

As in the Basic HTTP Push Relay Protocol the client walks the queue with Last-Modified and Etag:
it sends back what the last answer said and gets the message after that one. The Etag alone
carries the position; the date goes with it for clients and caches that expect both.
"""

import asyncio
from email.utils import formatdate
from typing import Final

from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.sessions.client import Handshake, Listener, TransportKind

from . import handshake
from .doorman import Doorman, Refusal, Welcome
from .sharing import sharing_headers
from .visit import Visit

NEWS_ONLY: Final = "-"
"""The `Handshake.resume` of a client that names a date but no Etag: it wants what comes next."""

_LONGPOLL: Final = "longpoll"
_DONE: Final = 1000
_INTERNAL: Final = 1011
_STATUS_OF_CODE: Final = {1013: 503, 4401: 401, 4403: 403, 4409: 409, 4410: 410, _INTERNAL: 500}
_SEPARATOR: Final = b"\n"
_VARY: Final = "If-None-Match, If-Modified-Since"


def resume_of(headers: CIMultiDictProxy[str]) -> str:
    """The id of the last message that the client has; empty when it has none."""
    etag = headers.get("if-none-match", "").strip().removeprefix("W/").strip('"')
    if etag:
        return etag
    return NEWS_ONLY if "if-modified-since" in headers else ""


class LongPoll:
    """Implements `sessions.client.EventClient`: takes one message, then it is full.

    Messages that come after it stay in the queue; the client asks for them by itself.
    """

    kind = TransportKind.LONGPOLL
    encoding: object = _LONGPOLL

    def __init__(self) -> None:
        self.ended: asyncio.Future[bytes | int] = asyncio.get_running_loop().create_future()
        """The encoded message, or the code with which the session closed."""
        self.end: tuple[int, str] = (_DONE, "")
        self.listener: Listener | None = None

    def encode(self, payload: bytes, *, text: bool) -> bytes:  # noqa: ARG002 - see below
        """Nothing: a message without id has no place in the queue and would end every poll."""
        return b""

    def encode_event(
        self,
        payload: bytes,
        *,
        text: bool,  # noqa: ARG002 - the type says it
        content_type: str,
        event: str = "",
        event_id: str = "",
    ) -> bytes:
        """Type, id and payload, to be taken apart when this client's answer is made."""
        if event or not event_id:
            return b""
        return _SEPARATOR.join((content_type.encode(), event_id.encode(), payload))

    def encode_position(self, event_id: str) -> bytes:  # noqa: ARG002 - a poll came with it
        """Nothing: a poll without news is answered with 304."""
        return b""

    def write(self, encoded: bytes) -> None:
        """The first message is the answer."""
        if encoded and not self.ended.done():
            self.ended.set_result(encoded)

    def buffered(self) -> int:
        """Nothing waits here: there is one message, and aiohttp sends it."""
        return 0

    def close(self, code: int, reason: str) -> None:
        """Answer with what the code means."""
        if not self.ended.done():
            self.end = (code, reason)
            self.ended.set_result(code)

    def abort(self) -> None:
        """Answer at once."""
        self.close(_INTERNAL, "")

    def ping(self) -> None:
        """That its socket is still there is the sign of life: aiohttp ends polls whose is not."""
        if self.listener is not None:
            self.listener.on_activity()

    def pause_reading(self) -> None:
        """Nothing is read from a poll."""

    def resume_reading(self) -> None:
        """Nothing is read from a poll."""


async def poll(handshake: Handshake, doorman: Doorman) -> web.Response:
    """Let the client in, wait, answer."""
    refused = doorman.enter(handshake.remote)
    if refused is not None:
        return refusing(refused)
    try:
        visit = Visit()
        doorman.admit(handshake, visit)
        answer = await _verdict(visit)
        if isinstance(answer, Refusal):
            return refusing(answer)
        response = await _wait(answer)
        for name, value in sharing_headers(handshake.header("origin")):
            response.headers.add(name, value)
        return response
    finally:
        doorman.leave(handshake.remote)


async def _verdict(visit: Visit) -> Welcome | Refusal:
    try:
        return await visit.answer()
    except asyncio.CancelledError:
        if visit.welcome is not None:
            # Let in and gone in the same moment: its session must hear of both.
            visit.welcome.attach(LongPoll()).on_closed(_DONE, "", clean=True)
        raise


async def _wait(welcome: Welcome) -> web.Response:
    client = LongPoll()
    try:
        client.listener = welcome.attach(client)
        async with asyncio.timeout(welcome.terms.longpoll_wait):
            return _answer(await client.ended, welcome.set_cookies)
    except TimeoutError:
        return _answer(_DONE, welcome.set_cookies)
    finally:
        client.close(_DONE, "")
        if client.listener is not None:
            client.listener.on_closed(*client.end, clean=True)


def _answer(ended: bytes | int, set_cookies: tuple[str, ...]) -> web.Response:
    headers = CIMultiDict({"Cache-Control": "no-cache", "Vary": _VARY})
    for cookie in set_cookies:
        if handshake.is_clean("Set-Cookie", cookie):
            headers.add("Set-Cookie", cookie)
    if isinstance(ended, int):
        return web.Response(status=_STATUS_OF_CODE.get(ended, 304), headers=headers)
    content_type, event_id, payload = ended.split(_SEPARATOR, 2)
    headers["Content-Type"] = content_type.decode()
    headers["Etag"] = f'"{event_id.decode()}"'
    headers["Last-Modified"] = formatdate(usegmt=True)
    return web.Response(body=payload, headers=headers)


def refusing(refused: Refusal) -> web.Response:
    """A refusal as aiohttp sends it."""
    headers = CIMultiDict(handshake.sendable_headers(refused))
    return web.Response(
        status=handshake.sendable_status(refused), headers=headers, body=refused.body
    )
