"""The wire of clients that only receive: event streams and long polls.

A publication is an event with an id to resume after it; see `positions`. Events of their own
name tell what is no publication: `join`, `leave`, `gap`, `failure`, and `binary` where the data
is not text. Their data is the object that json clients get.
"""

from typing import Final, cast

import msgspec

from gateway.backend.reply import is_text
from gateway.channels.broker import Member
from gateway.channels.publication import (
    BINARY_TYPE,
    JSON_TYPE,
    Kind,
    Position,
    Publication,
    is_binary_type,
)
from gateway.codes import CloseCode, Failure

from .client import Client, EventClient
from .peer import Peer
from .positions import NEWS_ONLY, Resume, encode_id
from .raw import check_utf8
from .wire import error_object

_encode: Final = msgspec.json.encode


class EventWire:
    """Fulfils `wire.Wire`; each connection has its own, because it knows how far it has come.

    A long poll (`polling`) ends with its first message. So it takes only the one that follows
    directly on the position it came with: the client walks, it never jumps.
    """

    subprotocol: Final = ""

    __slots__ = ("_reached", "polling", "resume")

    def __init__(self, resume: Resume, *, polling: bool) -> None:
        self.resume = resume
        self.polling = polling
        self._reached: dict[str, Position] = {}

    @property
    def lasting(self) -> bool:
        """A poll's end is not its client's going."""
        return not self.polling

    def reach(self, channel: str, position: Position) -> None:
        """The client stands there now; a channel without history has no position."""
        if position.epoch:
            self._reached[channel] = position

    def lose(self, session: Peer, channel: str, position: Position) -> None:
        """The client is told of a gap, after which it stands at the position."""
        if not self.polling:
            session.tell(lambda client: self._gap(client, channel, position))

    def receive(self, session: Peer, payload: bytes, *, text: bool) -> None:
        """Nothing comes from such a client."""

    def reply(
        self, session: Peer, body: bytes, content_type: str, *, text: bool, tag: object
    ) -> None:
        """What PHP answers to `connect`: the first event. A poll has asked for something else."""
        if text:
            check_utf8(body)
        if not self.polling:
            session.send(body, text=text)

    def failure(
        self, session: Peer, failure: Failure, tag: object, message_id: int, detail: str
    ) -> None:
        """`event: failure`; EventSource keeps `error` for itself."""
        data = _encode({"error": error_object(failure, message_id, detail)})
        session.tell(lambda client: _named(client, "failure", data))

    def rows(self, session: Peer, channel: str, rows: bytes) -> None:
        """One event without an id: what is resumed is the channel, not what was found."""
        if not self.polling:
            session.send(rows, text=True)

    def channel_failure(self, session: Peer, channel: str, failure: Failure, detail: str) -> None:
        """`event: failure`, with the channel."""
        data = _encode({"channel": channel, "error": error_object(failure, 0, detail)})
        session.tell(lambda client: _named(client, "failure", data))

    def push(self, session: Peer, payload: bytes, content_type: str) -> None:
        """One event; the position stays."""
        text = is_text(content_type)
        session.tell(
            lambda client: _events(client).encode_event(
                payload, text=text, content_type=content_type, event_id=encode_id(self._reached)
            )
        )

    def shared(self, client: Client) -> object:
        """Nothing: the id of an event depends on all channels of its client."""
        return None

    def publication(self, client: Client, publication: Publication) -> bytes:
        """One event; made once for all clients whose only history is this channel's."""
        position, reached = publication.position, self._reached
        if not position.offset:
            shared = not reached
        elif self.polling and not self._is_next(publication):
            return b""
        else:
            reached[publication.channel] = position
            shared = len(reached) == 1
        if not shared:
            return _encoded(client, publication, encode_id(reached))
        key = ("events", client.encoding)
        encoded = publication.encoded.get(key)
        if encoded is None:
            event_id = encode_id(reached) if position.offset else NEWS_ONLY
            encoded = publication.encoded[key] = _encoded(client, publication, event_id)
        return encoded

    def joined(self, session: Peer, channel: str, member: Member) -> None:
        """`event: join`."""
        data = _encode({"channel": channel, "join": {"id": member.id, "user": member.user}})
        session.tell(lambda client: _named(client, "join", data))

    def left(self, session: Peer, channel: str, member: Member) -> None:
        """`event: leave`."""
        data = _encode({"channel": channel, "leave": {"id": member.id, "user": member.user}})
        session.tell(lambda client: _named(client, "leave", data))

    def gap(self, session: Peer, channel: str) -> None:
        """`event: gap`. A poll ends without news: the next one finds what is still there."""
        if self.polling:
            session.close(CloseCode.NORMAL)
        else:
            session.tell(lambda client: self._gap(client, channel, None))

    def connected(self, session: Peer) -> None:
        """The id to come back with, should nothing else come; the push URL where it is announced.

        Without it a client that has heard nothing yet could not say, later, what it missed.
        """
        session.tell(lambda client: _events(client).encode_position(encode_id(self._reached)))
        if session.route.announce_url and not self.polling:
            url = session.services.push_url(session.id)
            session.send(_encode({"url": url}), text=True)

    def _is_next(self, publication: Publication) -> bool:
        before = self._reached.get(publication.channel)
        position = publication.position
        return before is None or (
            before.epoch == position.epoch and before.offset + 1 == position.offset
        )

    def _gap(self, client: Client, channel: str, position: Position | None) -> bytes:
        if position is not None:
            self._reached.pop(channel, None)
            self.reach(channel, position)
        data = _encode({"channel": channel, "gap": True})
        return _named(client, "gap", data, encode_id(self._reached))


def _events(client: Client) -> EventClient:
    """Only clients of this kind are given this wire."""
    return cast("EventClient", client)


def _named(client: Client, event: str, data: bytes, event_id: str = "") -> bytes:
    return _events(client).encode_event(
        data, text=True, content_type=JSON_TYPE, event=event, event_id=event_id
    )


def _encoded(client: Client, publication: Publication, event_id: str) -> bytes:
    message = publication.message
    text = publication.kind is not Kind.BINARY
    # Bytes that are no text are not called so, whatever their publisher said.
    content_type = (
        message.content_type if text or is_binary_type(message.content_type) else BINARY_TYPE
    )
    return _events(client).encode_event(
        message.data, text=text, content_type=content_type, event_id=event_id
    )
