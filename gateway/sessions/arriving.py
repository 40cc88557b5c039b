"""Joining at the handshake: clients that only receive go on where they were.

An event stream that comes back gets what it missed, or is told of the gap, in every channel it
comes into. A long poll takes the message that follows on the one it names; one that names none,
or one that is not kept any more, begins with the oldest that is.
"""

from typing import Final

from gateway.channels.publication import Position, Publication
from gateway.channels.resume import Joined

from .events import EventWire
from .joining import join, let_in
from .peer import Peer
from .positions import just_before

_TRIES: Final = 3


async def arrive(session: Peer, channel: str, *, authorize: bool = False) -> None:
    """As `joining.join`, for a session that is being let in."""
    wire = session.wire
    if not isinstance(wire, EventWire):
        await join(session, channel, authorize=authorize)
        return
    since = wire.resume.of(channel)
    if not session.services.channels.rules(channel).keeps_history:
        joined = await let_in(session, channel, None, authorize=authorize)
        if wire.resume.given:
            wire.lose(session, channel, joined.position)
    elif wire.polling:
        joined = await _walk(session, wire, channel, since, authorize=authorize)
    else:
        joined = await let_in(session, channel, since, authorize=authorize)
        if since is not None:
            wire.reach(channel, since)
        else:
            wire.reach(channel, _start(joined))
        if wire.resume.given and (since is None or not joined.recovered):
            wire.lose(session, channel, _start(joined))
    session.deliver_all(joined.publications)


async def _walk(
    session: Peer, wire: EventWire, channel: str, since: Position | None, *, authorize: bool
) -> Joined:
    """Join so that the next message of the walk is the first of what is handed on."""
    wanted = not wire.resume.given or wire.resume.garbled or since is not None
    for _ in range(_TRIES):
        if since is None and wanted:
            since = await _before_the_oldest(session, channel)
        joined = await let_in(session, channel, since, authorize=authorize)
        # A stream that began between the two questions has a first message to be walked to.
        if joined.recovered and (since is not None or not wanted or not _start(joined).offset):
            break
        since = None
    wire.reach(channel, _start(joined) if since is None else since)
    return joined


async def _before_the_oldest(session: Peer, channel: str) -> Position | None:
    """The position from which everything that is kept follows, None where there is no stream."""
    page = await session.services.channels.history(channel)
    if page.publications:
        return just_before(page.publications[0].position)
    return page.position if page.position.epoch else None


def _start(joined: Joined) -> Position:
    """Where the client stood before what the join hands on."""
    publications: tuple[Publication, ...] = joined.publications
    return just_before(publications[0].position) if publications else joined.position
