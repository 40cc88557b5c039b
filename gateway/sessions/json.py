"""The json wire, subprotocol wsgate.v1.json: one object a frame, in both directions.

`id` is the client's choice and comes back with the answer. Data that is JSON is handed on as it
is, other text as a JSON string, binary data as base64 with `"encoding":"base64"`.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Final

import msgspec

from gateway.channels.broker import Member
from gateway.channels.publication import Publication
from gateway.codes import BAD_REQUEST, Failure

from .client import Client
from .commands import Command
from .describing import described, value_of
from .peer import Peer
from .wire import error_object

SUBPROTOCOL: Final = "wsgate.v1.json"

_NO_COMMAND: Final = replace(
    BAD_REQUEST, message='expected a JSON object such as {"id":1,"send":…}'
)


class _Tag(msgspec.Struct):
    id: int | str | None = None


_command: Final = msgspec.json.Decoder(Command).decode
_tag: Final = msgspec.json.Decoder(_Tag).decode
_encode: Final = msgspec.json.encode


class JsonWire:
    """Fulfils `wire.Wire`."""

    subprotocol: Final = SUBPROTOCOL
    lasting: Final = True

    def receive(self, session: Peer, payload: bytes, *, text: bool) -> None:
        """Carry out the command; a frame that is none gets an error."""
        try:
            command = _command(payload)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
            self._refuse(session, payload, exc)
            return
        problem = command.problem()
        if problem:
            session.fail(replace(BAD_REQUEST, message=problem), command.id, 0, "")
        elif isinstance(command.send, msgspec.Raw):
            session.ask(bytes(command.send), text=True, tag=command.id)
        else:
            session.commands.add(command, len(payload))

    def _refuse(self, session: Peer, payload: bytes, error: Exception) -> None:
        """Say what is wrong, to whoever waits for the answer of that id."""
        try:
            tag = _tag(payload).id
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            session.fail(_NO_COMMAND, None, 0, str(error))
        else:
            session.fail(replace(BAD_REQUEST, message=str(error)), tag, 0)

    def reply(
        self, session: Peer, body: bytes, content_type: str, *, text: bool, tag: object
    ) -> None:
        """`{"id":…,"reply":…}`."""
        session.send(_object(tag, b'"reply":' + value_of(body, content_type)), text=True)

    def failure(
        self, session: Peer, failure: Failure, tag: object, message_id: int, detail: str
    ) -> None:
        """`{"id":…,"error":{…}}`."""
        error = error_object(failure, message_id, detail)
        session.send(_object(tag, b'"error":' + _encode(error)), text=True)

    def rows(self, session: Peer, channel: str, rows: bytes) -> None:
        """`{"channel":…,"data":[…]}`."""
        fields = b'"channel":' + _encode(channel), b'"data":' + rows
        session.send(_object(None, *fields), text=True)

    def channel_failure(self, session: Peer, channel: str, failure: Failure, detail: str) -> None:
        """`{"channel":…,"error":{…}}`."""
        error = error_object(failure, 0, detail)
        session.send(_encode({"channel": channel, "error": error}), text=True)

    def push(self, session: Peer, payload: bytes, content_type: str) -> None:
        """`{"push":…}`."""
        session.send(_object(None, b'"push":' + value_of(payload, content_type)), text=True)

    def shared(self, client: Client) -> object:
        """All clients of this wire and one encoding get the same."""
        return _key_of(client.encoding)

    def publication(self, client: Client, publication: Publication) -> bytes:
        """`{"channel":…,"data":…,"offset":…,"epoch":…}`."""
        encoded = client.encode(described(publication, with_channel=True), text=True)
        publication.encoded[self.shared(client)] = encoded
        return encoded

    def joined(self, session: Peer, channel: str, member: Member) -> None:
        """`{"channel":…,"join":{…}}`."""
        session.send(_encode({"channel": channel, "join": _member(member)}), text=True)

    def left(self, session: Peer, channel: str, member: Member) -> None:
        """`{"channel":…,"leave":{…}}`."""
        session.send(_encode({"channel": channel, "leave": _member(member)}), text=True)

    def gap(self, session: Peer, channel: str) -> None:
        """`{"channel":…,"gap":true}`."""
        session.send(_encode({"channel": channel, "gap": True}), text=True)

    def connected(self, session: Peer) -> None:
        """`{"connected":{"id":…,"user":…}}`, with the push URL where the route announces it."""
        about: dict[str, str] = {"id": session.id, "user": session.user}
        if session.route.announce_url:
            about["url"] = session.services.push_url(session.id)
        session.send(_encode({"connected": about}), text=True)


def _object(tag: object, *fields: bytes) -> bytes:
    """An object with the client's id in front, where it gave one."""
    parts = fields if tag is None else (b'"id":' + _encode(tag), *fields)
    return b"{" + b",".join(parts) + b"}"


def _member(member: Member) -> dict[str, str]:
    return {"id": member.id, "user": member.user}


@lru_cache(maxsize=32)
def _key_of(encoding: object) -> object:
    """The same object for all clients of an encoding: each keeps it."""
    return ("json", encoding)
