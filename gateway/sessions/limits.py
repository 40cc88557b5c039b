"""How much a client may send: a token bucket of one second's burst."""

from typing import Final

_WARNING: Final = 1.0


class Bucket:
    """At most `rate` messages a second, the burst the same; by a given clock."""

    __slots__ = ("_burst", "_filled_at", "_level", "_rate", "_warned_at")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._burst = max(rate, 1.0)
        self._level = self._burst
        self._filled_at = now
        self._warned_at = float("-inf")

    def take(self, now: float) -> bool:
        """Whether one more message is within the rate."""
        level = self._level + (now - self._filled_at) * self._rate
        self._filled_at = now
        level = min(level, self._burst)
        if level < 1.0:
            self._level = level
            return False
        self._level = level - 1.0
        return True

    def warned(self, now: float) -> bool:
        """Whether a client beyond the rate has already been told so within the last second."""
        if now - self._warned_at > _WARNING:
            self._warned_at = now
            return False
        return True
