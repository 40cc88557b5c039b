"""What a client of the json wire may ask for besides PHP, done one after the other.

Joining, leaving, publishing, history and presence may have to wait for a broker; so they run as
one task of the connection, in the order in which they came, while its messages go on to PHP.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import msgspec
import structlog

from gateway.channels.publication import JSON_TYPE, Message, Position
from gateway.channels.publishing import Source
from gateway.codes import INTERNAL, failure_of
from gateway.errors import ChannelForbiddenError, GatewayError
from gateway.logs import Throttle

from .describing import described
from .joining import join_as_client, may_publish
from .peer import Peer

Work = Callable[[], Awaitable[None]]

log: Final = structlog.get_logger()

LIMIT: Final = 128
"""Commands that wait on one connection before it is not read any more."""
LIMIT_BYTES: Final = 256 * 1024

_failures: Final = Throttle()

_NAMES: Final = ("send", "subscribe", "unsubscribe", "publish", "history", "presence")


class Since(msgspec.Struct, forbid_unknown_fields=True):
    """Up to where the client has everything."""

    offset: int
    epoch: str


class Command(msgspec.Struct):
    """One frame of the json wire; exactly one of the names is set."""

    id: int | str | None = None
    send: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    subscribe: str | None = None
    since: Since | None = None
    unsubscribe: str | None = None
    publish: str | None = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    history: str | None = None
    limit: int | None = None
    presence: str | None = None

    def problem(self) -> str:
        """What is wrong with the command, or an empty string."""
        asked = [name for name in _NAMES if getattr(self, name) not in (None, msgspec.UNSET)]
        if len(asked) != 1:
            return f"expected one of {', '.join(_NAMES)}"
        if self.publish is not None and self.data is msgspec.UNSET:
            return "publish needs data"
        if self.limit is not None and self.limit < 0:
            return "limit is below 0"
        return ""


class Commands:
    """What one connection asked for that is not done yet, in order, as one task while it lasts.

    Past the limits the client is not read on until all of it is done.
    """

    __slots__ = ("_bytes", "_paused", "_running", "_session", "_waiting")

    def __init__(self, session: Peer) -> None:
        self._session = session
        self._waiting: deque[tuple[Work, object]] = deque()
        self._bytes = 0
        self._running = False
        self._paused = False

    def add(self, command: Command, size: int) -> None:
        """Carry out the command, of so many bytes, when those before it are done."""
        self.do(partial(self._carry_out, command), tag=command.id, size=size)

    def do(self, work: Work, *, tag: object, size: int) -> None:
        """Do something when what came before is done; its GatewayError becomes an error frame."""
        self._waiting.append((work, tag))
        self._bytes += size
        full = len(self._waiting) >= LIMIT or self._bytes >= LIMIT_BYTES
        if full and not self._paused:
            self._paused = True
            self._session.hold()
        if not self._running:
            self._running = True
            self._session.services.tasks.spawn(self._run(), name="commands of a client")

    async def _run(self) -> None:
        session = self._session
        while self._waiting:
            work, tag = self._waiting.popleft()
            try:
                await work()
            except GatewayError as exc:
                session.fail(failure_of(exc), tag, 0, str(exc))
            except Exception:
                if _failures.allows():
                    log.exception("command failed", connection=session.id, **_failures.taken())
                session.fail(INTERNAL, tag, 0)
            if not self._waiting:
                self._bytes = 0
                if self._paused:
                    # What the client said meanwhile may come at once and be added to the rest.
                    self._paused = False
                    session.release()
        self._running = False

    async def _carry_out(self, command: Command) -> None:
        if command.subscribe is not None:
            await self._subscribe(command, command.subscribe)
        elif command.unsubscribe is not None:
            await self._session.services.channels.leave(self._session, command.unsubscribe)
            self._answer(command, unsubscribed=command.unsubscribe)
        elif command.publish is not None:
            await self._publish(command, command.publish)
        elif command.history is not None:
            await self._history(command, command.history)
        elif command.presence is not None:
            await self._presence(command, command.presence)

    async def _subscribe(self, command: Command, channel: str) -> None:
        since = (
            None if command.since is None else Position(command.since.offset, command.since.epoch)
        )
        joined = await join_as_client(self._session, channel, since)
        answer: dict[str, object] = {
            "subscribed": channel,
            "position": _position(joined.position),
            "recovered": joined.recovered,
            "publications": [
                msgspec.Raw(described(publication, with_channel=False))
                for publication in joined.publications
            ],
        }
        self._answer(command, **answer)

    async def _publish(self, command: Command, channel: str) -> None:
        data = bytes(command.data) if isinstance(command.data, msgspec.Raw) else b"null"
        session = self._session
        await may_publish(session, channel, data)
        message = Message(data, JSON_TYPE)
        receipt = await session.services.channels.publish(channel, message, source=Source.CLIENT)
        self._answer(command, published={"offset": receipt.position.offset})

    async def _history(self, command: Command, channel: str) -> None:
        self._must_be_in(channel)
        page = await self._session.services.channels.history(channel, limit=command.limit)
        publications = [
            msgspec.Raw(described(publication, with_channel=False))
            for publication in page.publications
        ]
        history = {
            "channel": channel,
            "publications": publications,
            "position": _position(page.position),
        }
        self._answer(command, history=history)

    async def _presence(self, command: Command, channel: str) -> None:
        self._must_be_in(channel)
        members = await self._session.services.channels.presence(channel)
        clients = [{"id": member.id, "user": member.user} for member in members]
        presence = {"channel": channel, "count": len(clients), "clients": clients}
        self._answer(command, presence=presence)

    def _must_be_in(self, channel: str) -> None:
        """Only who is in a channel may ask what is said and who is there."""
        if channel not in self._session.services.channels.joined(self._session):
            raise ChannelForbiddenError(channel)

    def _answer(self, command: Command, **fields: object) -> None:
        answer = {} if command.id is None else {"id": command.id}
        self._session.send(msgspec.json.encode({**answer, **fields}), text=True)


def _position(position: Position) -> dict[str, object]:
    return {"offset": position.offset, "epoch": position.epoch}
