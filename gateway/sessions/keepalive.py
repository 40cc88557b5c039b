"""Who must be pinged, who has been silent too long, who does not read: one sweep for all.

No connection has a timer of its own. Each is looked at when its next deadline can have come, at
most once a second; what happened in between (traffic, mostly) only moves that moment on.
"""

from typing import TYPE_CHECKING, Final, Protocol

import structlog

from gateway.codes import CloseCode
from gateway.logs import Throttle

if TYPE_CHECKING:
    from .route import Route

log: Final = structlog.get_logger()

STUCK: Final = 10.0
"""Seconds that a client may leave what was sent to it unread."""

_failures: Final = Throttle()


class Watched(Protocol):
    """A session as keep-alive sees it; `session.Session` documents the members."""

    route: "Route"
    due: int
    heard_at: float
    spoke_at: float
    pinged_at: float
    congested_since: float
    expires_at: float | None

    @property
    def id(self) -> str:
        """The connection's id, for the log."""

    @property
    def open(self) -> bool:
        """Whether the client can be sent something."""

    @property
    def busy(self) -> bool:
        """Whether something that the client sent is not concluded."""

    @property
    def deaf(self) -> bool:
        """Whether the client is not read at the moment."""

    def ping(self, now: float) -> None:
        """Ask for a sign of life."""

    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye."""

    def has_read(self, now: float) -> bool:
        """Whether a congested client has taken enough; if so, it counts anew."""

    def too_slow(self) -> None:
        """Give up on a client that does not read."""

    def vanished(self) -> None:
        """Give up on a client that is gone without a word."""


class Keepalive:
    """The connections of a worker by the second in which they are due; by a given clock."""

    def __init__(self) -> None:
        self._due: dict[int, set[Watched]] = {}
        self._swept = -1

    def __len__(self) -> int:
        return sum(map(len, self._due.values()))

    def watch(self, session: Watched) -> None:
        """Look at the session when its next deadline can have come, in place of an earlier plan."""
        deadline = next_deadline(session)
        if deadline is None:
            self.forget(session)
            return
        # Not a second later: an expired token must not wait for the sweep after next.
        due = max(int(deadline), self._swept + 1)
        if session.due != due:
            if session.due >= 0:
                self.forget(session)
            session.due = due
            self._due.setdefault(due, set()).add(session)

    def forget(self, session: Watched) -> None:
        """The session is gone; one that is not watched changes nothing."""
        sessions = self._due.get(session.due)
        if sessions is not None:
            sessions.discard(session)
            if not sessions:
                del self._due[session.due]
        session.due = -1

    def sweep(self, now: float) -> None:
        """Look at everybody who is due; call about once a second."""
        second = int(now)
        first = self._swept + 1 if self._swept >= 0 else min(self._due, default=second)
        for moment in range(first, second + 1):
            self._swept = moment
            for session in self._due.pop(moment, ()):
                session.due = -1
                try:
                    if session.open:
                        self._look(session, now)
                except Exception:
                    # One broken session must not cost the others their looks.
                    if _failures.allows():
                        log.exception("sweep failed", connection=session.id, **_failures.taken())
                    # Nobody would look at it again.
                    session.close(CloseCode.INTERNAL_ERROR, "internal error")

    def _look(self, session: Watched, now: float) -> None:
        limits = session.route.limits
        if (
            session.congested_since
            and now - session.congested_since >= STUCK
            and not session.has_read(now)
        ):
            session.too_slow()
        elif (
            session.pinged_at
            and not session.deaf
            and now - session.pinged_at >= limits.pong_timeout
        ):
            session.vanished()
        elif session.expires_at is not None and now >= session.expires_at:
            session.close(CloseCode.TOKEN_EXPIRED, "token expired")
        elif (
            limits.idle_timeout is not None
            and not session.busy
            and now - session.spoke_at >= limits.idle_timeout
        ):
            session.close(CloseCode.NORMAL, "idle")
        elif (
            limits.ping_interval is not None
            and not session.pinged_at
            # Whom we do not read cannot be heard to answer, and who does not read is not asked.
            and not session.deaf
            and not session.congested_since
            and now - session.heard_at >= limits.ping_interval
        ):
            session.ping(now)
        if session.open:
            self.watch(session)


def next_deadline(session: Watched) -> float | None:
    """The earliest moment at which something must be done about the session, if ever."""
    limits = session.route.limits
    moments = []
    if session.congested_since:
        moments.append(session.congested_since + STUCK)
    if session.pinged_at:
        moments.append(session.pinged_at + limits.pong_timeout)
    elif limits.ping_interval is not None:
        moments.append(session.heard_at + limits.ping_interval)
    if limits.idle_timeout is not None:
        moments.append(session.spoke_at + limits.idle_timeout)
    if session.expires_at is not None:
        moments.append(session.expires_at)
    return min(moments) if moments else None
