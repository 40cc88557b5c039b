"""What a client's messages mean and how it is answered: the protocol above the frames.

`raw`, where frames are PHP's business; `json` (wsgate.v1.json), where one object a frame names what
is asked; and `events` for clients that only receive. The first two have no state: what a connection
needs to be answered travels as the message's `tag`.
"""

from typing import Protocol

import msgspec

from gateway.channels.broker import Member
from gateway.channels.publication import Publication
from gateway.codes import Failure

from .client import Client
from .peer import Peer


class Wire(Protocol):
    """See the module's docstring. Nothing here waits."""

    @property
    def subprotocol(self) -> str:
        """What is chosen at the handshake for it, or an empty string."""

    @property
    def lasting(self) -> bool:
        """Whether the connection's end means that its client has gone."""

    def receive(self, session: Peer, payload: bytes, *, text: bool) -> None:
        """Do what the message asks for."""

    def reply(
        self, session: Peer, body: bytes, content_type: str, *, text: bool, tag: object
    ) -> None:
        """PHP's reply to a message, or an effect that sends one; ReplyError when it cannot be."""

    def failure(
        self, session: Peer, failure: Failure, tag: object, message_id: int, detail: str
    ) -> None:
        """What stands in the place of a reply that will not come."""

    def rows(self, session: Peer, channel: str, rows: bytes) -> None:
        """What a query has found for the one who came into the channel: a JSON list of rows."""

    def channel_failure(self, session: Peer, channel: str, failure: Failure, detail: str) -> None:
        """That the channel's query failed; its client is in the channel nevertheless."""

    def push(self, session: Peer, payload: bytes, content_type: str) -> None:
        """A message to this connection alone that nobody has asked for."""

    def shared(self, client: Client) -> object:
        """The key under which a publication holds the bytes for all clients like this one.

        None where the bytes depend on more than the client's encoding.
        """

    def publication(self, client: Client, publication: Publication) -> bytes:
        """The publication as encoded for this client; kept with it where others get the same."""

    def joined(self, session: Peer, channel: str, member: Member) -> None:
        """Somebody came to a channel with presence."""

    def left(self, session: Peer, channel: str, member: Member) -> None:
        """Somebody went."""

    def gap(self, session: Peer, channel: str) -> None:
        """Publications of the channel may have been missed."""

    def connected(self, session: Peer) -> None:
        """The first thing a client hears."""


def error_object(failure: Failure, message_id: int, detail: str) -> dict[str, object]:
    """The `error` of an error frame; `detail` is shown only where the log level is debug."""
    error: dict[str, object] = {
        "code": failure.status,
        "type": failure.type,
        "message": failure.message,
    }
    if message_id:
        error["message_id"] = message_id
    if detail:
        error["detail"] = detail
    return error


def goodbye(code: int, reason: str, *, clean: bool) -> bytes:
    """The body of the `disconnect` event."""
    return msgspec.json.encode({"code": code, "reason": reason, "clean": clean})
