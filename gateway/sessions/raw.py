"""The raw wire: a frame is PHP's business, a publication is one frame with its data."""

from typing import Final

import msgspec

from gateway.backend.reply import is_text
from gateway.channels.broker import Member
from gateway.channels.publication import Kind, Publication
from gateway.codes import Failure
from gateway.errors import ReplyError

from .client import Client
from .peer import Peer
from .wire import error_object


class RawWire:
    """Fulfils `wire.Wire`."""

    subprotocol: Final = ""
    lasting: Final = True

    def receive(self, session: Peer, payload: bytes, *, text: bool) -> None:
        """The frame is PHP's, or goes to the one channel that the route publishes to."""
        if session.publish_to is None:
            session.ask(payload, text=text, tag=None)
        else:
            session.publish_frame(session.publish_to, payload, text=text)

    def reply(
        self, session: Peer, body: bytes, content_type: str, *, text: bool, tag: object
    ) -> None:
        """One frame. Raises ReplyError when text is not UTF-8."""
        if text and not body.isascii():
            check_utf8(body)
        session.send(body, text=text)

    def failure(
        self, session: Peer, failure: Failure, tag: object, message_id: int, detail: str
    ) -> None:
        """An error frame."""
        error = error_object(failure, message_id, detail)
        session.send(msgspec.json.encode({"error": error}), text=True)

    def rows(self, session: Peer, channel: str, rows: bytes) -> None:
        """One frame."""
        session.send(rows, text=True)

    def channel_failure(self, session: Peer, channel: str, failure: Failure, detail: str) -> None:
        """An error frame."""
        self.failure(session, failure, None, 0, detail)

    def push(self, session: Peer, payload: bytes, content_type: str) -> None:
        """One frame."""
        session.send(payload, text=is_text(content_type))

    def shared(self, client: Client) -> object:
        """The encoding itself; other wires add their name to it."""
        return client.encoding

    def publication(self, client: Client, publication: Publication) -> bytes:
        """One frame with the data."""
        text = publication.kind is not Kind.BINARY
        encoded = client.encode(publication.message.data, text=text)
        publication.encoded[client.encoding] = encoded
        return encoded

    def joined(self, session: Peer, channel: str, member: Member) -> None:
        """Raw clients hear only data."""

    def left(self, session: Peer, channel: str, member: Member) -> None:
        """Raw clients hear only data."""

    def gap(self, session: Peer, channel: str) -> None:
        """Raw clients hear only data."""

    def connected(self, session: Peer) -> None:
        """The push URL, where the route announces it."""
        if session.route.announce_url:
            url = session.services.push_url(session.id)
            session.send(msgspec.json.encode({"url": url}), text=True)


def check_utf8(body: bytes) -> None:
    """Raise ReplyError unless the bytes may stand in a text frame."""
    try:
        body.decode()
    except UnicodeDecodeError as exc:
        raise ReplyError(
            f"the reply is not UTF-8 (byte {exc.start}); send binary data with "
            "Content-Type: application/octet-stream"
        ) from exc
