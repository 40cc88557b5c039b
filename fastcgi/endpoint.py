"""One address of a pool: how much it does, whether it is away, and when to try it again."""

from typing import Final

from .address import Address
from .errors import ConnectError

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 0.5
# Failures further apart than this are two outages: nobody looked in between.
_OUTAGE_GAP: Final = 1.0


class Endpoint:
    """An address and its record.

    `opened` counts every connection that has not ended, `connecting` those not yet open.
    `error` is why the last attempt failed, None while the address is believed to be alive.
    """

    __slots__ = (
        "address",
        "away_since",
        "connecting",
        "error",
        "failed_at",
        "failures",
        "opened",
        "retry_at",
    )

    def __init__(self, address: Address) -> None:
        self.address = address
        self.opened = 0
        self.connecting = 0
        self.error: ConnectError | None = None
        self.failures = 0
        self.failed_at = 0.0
        self.away_since = 0.0
        self.retry_at = 0.0

    def may_connect(self, now: float) -> bool:
        """Whether to open a connection here; after a failure only one at a time is tried."""
        if self.error is None:
            return True
        return now >= self.retry_at and not self.connecting

    def succeeded(self) -> None:
        """Somebody listens."""
        self.error = None
        self.failures = 0

    def failed(self, error: ConnectError, *, started: float, now: float, jitter: float) -> None:
        """An attempt begun at `started` failed; the pause doubles, halved at most by `jitter`."""
        if self.error is None or started - self.failed_at > _OUTAGE_GAP:
            self.away_since = now
            self.failures = 0
        pause = min(_FIRST_PAUSE * 2.0 ** min(self.failures, 10), _LONGEST_PAUSE)
        self.error = error
        self.failures += 1
        self.failed_at = now
        self.retry_at = now + pause * (0.5 + jitter / 2)
