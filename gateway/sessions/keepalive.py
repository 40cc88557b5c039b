"""Who must be pinged, who has been silent too long, who does not read: one sweep for all.

No connection has a timer of its own. Each is looked at when its next deadline can have come, at
most once a second; what happened in between (traffic, mostly) only moves that moment on.
"""

from collections import deque
from typing import TYPE_CHECKING, Final

from gateway.codes import CloseCode

if TYPE_CHECKING:
    from .session import Session

STUCK: Final = 10.0
"""Seconds that a client may leave what was sent to it unread."""


class Keepalive:
    """The connections of a worker by the second in which they are due; by a given clock."""

    def __init__(self) -> None:
        self._due: dict[int, deque[Session]] = {}
        self._swept = -1

    def watch(self, session: "Session") -> None:
        """Look at the session when its next deadline can have come."""
        due = deadline(session)
        if due is not None:
            self._due.setdefault(max(int(due) + 1, self._swept + 1), deque()).append(session)

    def sweep(self, now: float) -> None:
        """Look at everybody who is due; call about once a second."""
        second = int(now)
        first = self._swept + 1 if self._swept >= 0 else min(self._due, default=second)
        for moment in range(first, second + 1):
            self._swept = moment
            for session in self._due.pop(moment, ()):
                if session.open:
                    self._look(session, now)

    def _look(self, session: "Session", now: float) -> None:
        limits = session.route.limits
        if session.congested_since and now - session.congested_since >= STUCK:
            session.too_slow()
        elif session.pinged_at and now - session.pinged_at >= limits.pong_timeout:
            session.vanished()
        elif limits.idle_timeout is not None and now - session.spoke_at >= limits.idle_timeout:
            session.close(CloseCode.NORMAL, "idle")
        elif session.expires_at is not None and now >= session.expires_at:
            session.close(CloseCode.TOKEN_EXPIRED, "token expired")
        elif (
            limits.ping_interval is not None
            and not session.pinged_at
            and now - session.heard_at >= limits.ping_interval
        ):
            session.ping(now)
        if session.open:
            self.watch(session)


def deadline(session: "Session") -> float | None:
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
    return min(moments, default=None)
