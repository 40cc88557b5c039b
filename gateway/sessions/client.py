"""The two sides of a transport, as a session sees them.

A transport reads what a client sends and writes what the session wants sent. It knows nothing
of routes, PHP or channels; the session knows nothing of frames, HTTP or sockets.

A handshake is a msgspec struct because a frozen dataclass takes four times as long to make.
"""

from enum import StrEnum
from typing import Final, Protocol

import msgspec


class TransportKind(StrEnum):
    """How a client is reached."""

    WEBSOCKET = "websocket"
    SSE = "sse"
    LONGPOLL = "longpoll"

    # As members are compared; Enum's own hash is a call in Python.
    __hash__ = str.__hash__


# Asked for at every handshake: a global costs a fraction of an enum's attribute.
WEBSOCKET: Final = TransportKind.WEBSOCKET


class Handshake(msgspec.Struct, frozen=True, gc=False):
    """What a client sent to be let in: parsed, not yet judged.

    `headers` are in the order in which they came, names in lower case, repeated names repeated.
    `path` and `query` are as on the wire (percent-encoded, query without its "?").
    `remote` and `scheme` are the client's own: proxies that are trusted have been seen through.
    `subprotocols` are the offers, in the client's order.
    """

    kind: TransportKind
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    remote: str
    remote_port: int
    server: str
    server_port: int
    scheme: str
    http_version: str
    subprotocols: tuple[str, ...] = ()
    resume: str = ""
    """The id of the last event that a downstream client has, as it was given to it."""

    def header(self, name: str) -> str:
        """The value of the first header of that (lower case) name, or an empty string."""
        for key, value in self.headers:
            if key == name:
                return value
        return ""


class Client(Protocol):
    """How a session reaches its client. No method waits; after `close` all do nothing."""

    kind: TransportKind

    def encode(self, payload: bytes, *, text: bool) -> bytes:
        """The bytes that carry one message on this kind of transport.

        The same for every client of the same `encoding`, so that a publication is encoded once.
        """

    encoding: object
    """What `encode` depends on; equal for clients whose encoded bytes are interchangeable."""

    def write(self, encoded: bytes) -> None:
        """Hand encoded bytes to the socket."""

    def buffered(self) -> int:
        """Bytes written but not yet taken by the kernel."""

    def close(self, code: int, reason: str) -> None:
        """Start the close handshake, or end the response; the rest is the transport's affair."""

    def abort(self) -> None:
        """Drop the connection without a word."""

    def ping(self) -> None:
        """Ask for a sign of life: a WebSocket ping, a comment on an event stream."""

    def pause_reading(self) -> None:
        """Take nothing more from the client until `resume_reading`."""

    def resume_reading(self) -> None:
        """Go on reading."""


class EventClient(Client, Protocol):
    """A client that only receives: server-sent events, long poll.

    Each message it is sent should have an id to come back with (`Handshake.resume`). A long poll
    ends with the first message that has one; what has none is not for it and is left out.
    """

    def encode_event(
        self, payload: bytes, *, text: bool, content_type: str, event: str = "", event_id: str = ""
    ) -> bytes:
        """Like `encode`, for a message with an id or of a named kind (`event`)."""

    def encode_position(self, event_id: str) -> bytes:
        """An id to come back with, and nothing to be read."""


class Listener(Protocol):
    """What a transport tells its session. Called from the event loop, in order; never waits."""

    def on_message(self, payload: bytes, *, text: bool) -> None:
        """One whole message; text is valid UTF-8."""

    def on_activity(self) -> None:
        """A ping, a pong: the client lives, though it said nothing."""

    def on_congested(self, *, congested: bool) -> None:
        """The socket does not take what was written; later, that it does again."""

    def on_closed(self, code: int, reason: str, *, clean: bool) -> None:
        """The connection has ended; nothing follows. 1006 and not clean without close frame."""
