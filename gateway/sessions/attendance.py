"""What the database is told when a connection comes into a channel, and when it leaves it.

The queries of one entry of `channels:`. The rows of a coming go to the one who came, those of a
going to nobody. Nothing here waits, and no failure takes anybody out of a channel.
"""

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final, cast

import structlog

from gateway.backend.errands import Errand, Errands, EventQuery
from gateway.channels.subscriber import Subscriber
from gateway.codes import failure_of
from gateway.errors import GatewayError, QueryError
from gateway.logs import Throttle
from gateway.routing.patterns import Pattern

if TYPE_CHECKING:
    from collections.abc import Callable

    from .peer import Peer

log: Final = structlog.get_logger()

MOST: Final = 64
"""Queries of one connection that are not done before it is not read any more: by joining and
leaving all the time it could fill the line of everybody."""
_NO_ROWS: Final = b"[]"
_OF_THE_TEXT: Final = "42"
"""The class of SQLSTATEs that find fault with a statement's text; only there PostgreSQL's message
has nothing of the values."""


class Attendance:
    """Fulfils `channels.policy.Witness`. `match` is the pattern of the channels as written.

    A long poll comes and goes with every message it fetches, which says nothing about its client:
    for it no query is run.
    """

    def __init__(
        self,
        match: str,
        errands: Errands,
        *,
        on_subscribe: EventQuery | None,
        on_unsubscribe: EventQuery | None,
    ) -> None:
        self._pattern = Pattern(match)
        self._errands = errands
        self._on_subscribe = on_subscribe
        self._on_unsubscribe = on_unsubscribe
        self._failures = Throttle()
        self._under_way: Counter[Peer] = Counter()

    def came(self, subscriber: Subscriber, channel: str) -> None:
        """The subscriber has been let into the channel."""
        session = cast("Peer", subscriber)  # every subscriber is a session
        if self._on_subscribe is not None:
            on_end = partial(self._answer, session, channel)
            self._run(self._on_subscribe, session, channel, on_end, awaited=True)

    def went(self, subscriber: Subscriber, channel: str) -> None:
        """The subscriber is not in the channel any more."""
        session = cast("Peer", subscriber)
        if self._on_unsubscribe is not None:
            self._run(self._on_unsubscribe, session, channel, self._ended, awaited=False)

    def _run(
        self,
        query: EventQuery,
        session: "Peer",
        channel: str,
        on_end: "Callable[[bytes | GatewayError], None]",
        *,
        awaited: bool,
    ) -> None:
        if not session.wire.lasting:
            return
        known = {
            "channel": channel,
            "connection": session.id,
            "user": session.user or None,
            "route": session.route.name,
            "wildcard": self._pattern.wildcard(channel),
        }
        values = tuple(known[name] for name in query.statement.fields)
        if session.open:
            # Who has gone asks for nothing more, and need not be remembered.
            self._under_way[session] += 1
            if self._under_way[session] == MOST:
                session.hold()
            on_end = partial(self._done, session, on_end)
        lane = (session.id, channel)
        self._errands.submit(Errand(query, values, lane, on_end, awaited))

    def _done(
        self,
        session: "Peer",
        on_end: "Callable[[bytes | GatewayError], None]",
        outcome: bytes | GatewayError,
    ) -> None:
        if self._under_way[session] == MOST:
            session.release()
        self._under_way[session] -= 1
        if not self._under_way[session]:
            del self._under_way[session]
        on_end(outcome)

    def _answer(self, session: "Peer", channel: str, outcome: bytes | GatewayError) -> None:
        if isinstance(outcome, GatewayError):
            self._log("on_subscribe", outcome)
        elif outcome == _NO_ROWS:
            return
        if channel not in session.services.channels.joined(session):
            return
        if isinstance(outcome, GatewayError):
            session.route.numbers.errors.value += 1
            detail = str(outcome) if session.services.show_details else ""
            session.wire.channel_failure(session, channel, failure_of(outcome), detail)
        else:
            session.route.numbers.pushes.value += 1
            session.wire.rows(session, channel, outcome)

    def _ended(self, outcome: bytes | GatewayError) -> None:
        if isinstance(outcome, GatewayError):
            self._log("on_unsubscribe", outcome)

    def _log(self, key: str, error: GatewayError) -> None:
        if self._failures.allows():
            log.warning(
                "channel query failed",
                match=self._pattern.text,
                key=key,
                error=_words(error),
                **self._failures.taken(),
            )


def _words(error: GatewayError) -> str:
    """What may stand in the log: nothing of what was bound."""
    if isinstance(error, QueryError) and error.state and not error.state.startswith(_OF_THE_TEXT):
        return f"PostgreSQL refuses the query ({error.state})"
    return str(error)
