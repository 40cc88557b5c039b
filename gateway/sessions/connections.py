"""Any connection of the whole gateway, by its id, wherever it is held.

The first characters of an id name the worker; a question about a connection of another worker
travels through the broker to it and is answered there by the same code.
"""

from typing import Final

import msgspec

from gateway.backend.reply import is_text
from gateway.channels.publication import is_utf8
from gateway.channels.service import ChannelService
from gateway.codes import may_be_sent
from gateway.errors import (
    BrokerError,
    BrokerUnavailableError,
    ChannelError,
    ChannelForbiddenError,
    ChannelFullError,
    ChannelNameError,
    ChannelNotFoundError,
    ConnectionGoneError,
    ConnectionIdError,
    MessageError,
    NodeGoneError,
    NotTextError,
)

from .directory import Directory
from .identity import ID_LENGTH, NODE_LENGTH
from .joining import join

_ALPHABET: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


class Question(msgspec.Struct, array_like=True):
    """What is asked about a connection; `op` is state, push, close, subscribe or unsubscribe."""

    op: str
    connection: str
    payload: bytes = b""
    argument: str = ""
    code: int = 0


class Answer(msgspec.Struct, array_like=True):
    """Either `state`, or the name of an error with its words."""

    error: str = ""
    words: str = ""
    state: dict[str, str | int | list[str]] = {}


_ERRORS: Final[dict[str, type[Exception]]] = {
    "gone": ConnectionGoneError,
    "text": NotTextError,
    "message": MessageError,
}


class Connections:
    """See the module's docstring.

    Every method raises ConnectionIdError for an id of the wrong form and ConnectionGoneError for
    a connection that is not, or no longer, open.
    """

    def __init__(self, channels: ChannelService, directory: Directory) -> None:
        self._channels = channels
        self._directory = directory

    async def state(self, connection_id: str) -> dict[str, object]:
        """What is known of the connection."""
        return dict((await self._ask(Question("state", connection_id))).state)

    async def push(self, connection_id: str, payload: bytes, content_type: str) -> None:
        """One frame to the connection; NotTextError for text that is not UTF-8."""
        await self._ask(Question("push", connection_id, payload, content_type))

    async def close(self, connection_id: str, code: int, reason: str) -> None:
        """Close it; MessageError for a code that must not be sent."""
        if not may_be_sent(code):
            raise MessageError(f"{code} is not a close code that may be sent")
        if len(reason.encode()) > 123:  # noqa: PLR2004 - RFC 6455 section 5.5
            raise MessageError("a close reason has at most 123 bytes")
        await self._ask(Question("close", connection_id, argument=reason, code=code))

    async def subscribe(self, connection_id: str, channel: str) -> None:
        """Let it join the channel; the errors of `ChannelService.join`."""
        await self._ask(Question("subscribe", connection_id, argument=channel))

    async def unsubscribe(self, connection_id: str, channel: str) -> None:
        """Take it out of the channel."""
        await self._ask(Question("unsubscribe", connection_id, argument=channel))

    async def _ask(self, question: Question) -> Answer:
        connection = question.connection
        if len(connection) != ID_LENGTH or not _ALPHABET.issuperset(connection):
            raise ConnectionIdError(f"{connection[:64]!r} is not the id of a connection")
        node = connection[:NODE_LENGTH]
        if node == self._channels.node:
            return await self._carry_out(question)
        try:
            raw = await self._channels.ask(node, msgspec.msgpack.encode(question))
        except NodeGoneError as exc:
            raise ConnectionGoneError("the connection is gone") from exc
        answer = msgspec.msgpack.decode(raw, type=Answer)
        if answer.error:
            raise _error_of(answer, question.argument)
        return answer

    async def answer(self, raw: bytes) -> bytes:
        """Answer another worker's question about a connection held here."""
        question = msgspec.msgpack.decode(raw, type=Question)
        try:
            answer = await self._carry_out(question)
        except (ChannelError, BrokerError) as exc:
            answer = Answer(error=type(exc).__name__, words=str(exc))
        except tuple(_ERRORS.values()) as exc:
            name = next(name for name, kind in _ERRORS.items() if isinstance(exc, kind))
            answer = Answer(error=name, words=str(exc))
        return msgspec.msgpack.encode(answer)

    async def _carry_out(self, question: Question) -> Answer:
        session = self._directory.find(question.connection)
        if session is None or not session.open:
            raise ConnectionGoneError("the connection is gone")
        match question.op:
            case "push":
                if is_text(question.argument) and not is_utf8(question.payload):
                    raise NotTextError("text must be UTF-8")
                session.push(question.payload, question.argument)
            case "close":
                session.close(question.code, question.argument)
            case "subscribe":
                await join(session, question.argument)
            case "unsubscribe":
                await self._channels.leave(session, question.argument)
            case _:
                return Answer(state=session.describe())
        return Answer()


def _error_of(answer: Answer, channel: str) -> Exception:
    """The error that the other worker met, as this worker raises it."""
    kind = _ERRORS.get(answer.error)
    if kind is not None:
        return kind(answer.words)
    match answer.error:
        case "ChannelFullError":
            return ChannelFullError(channel, 0)
        case "ChannelNotFoundError":
            return ChannelNotFoundError(channel)
        case "ChannelForbiddenError":
            return ChannelForbiddenError(channel)
        case "ChannelNameError":
            return ChannelNameError(channel, answer.words)
        case _:
            return BrokerUnavailableError(answer.words)
