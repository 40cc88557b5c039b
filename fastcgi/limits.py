"""What a pool may use and how long it waits, and what it tells about itself."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one pool, in seconds and bytes.

    `max_connections` counts every connection whose end has not been seen. Bodies larger than
    `keepalive_max_body` use a connection once. `queue_size` counts those who wait while no
    connection is being opened for them. `retry_for` is how long requests wait for addresses that
    are away. `write_timeout` bounds the writing of one request, `first_byte_timeout` (None: the
    request's own timeout) the time until its answer begins.
    """

    max_connections: int = 4
    keepalive: bool = True
    keepalive_max_body: int = 8192
    idle_timeout: float = 1.0
    connect_timeout: float = 1.0
    queue_size: int = 10_000
    queue_timeout: float = 10.0
    retry_for: float = 5.0
    write_timeout: float = 10.0
    first_byte_timeout: float | None = None
    max_response: int = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """One look at a pool: connections by state, the queue, and counts since the start.

    `settling` connections have answered while their script goes on, `draining` ones run a script
    whose answer nobody wants. `retries` counts by reason, `errors` by the error's class name;
    `away` names the addresses that could not be reached last time.
    """

    limit: int
    idle: int
    busy: int
    settling: int
    draining: int
    connecting: int
    waiting: int
    oldest_wait: float
    sent: int
    answered: int
    connects: int
    retries: Mapping[str, int]
    errors: Mapping[str, int]
    away: tuple[str, ...]

    @property
    def open(self) -> int:
        """Every connection that counts against the limit."""
        return self.idle + self.busy + self.settling + self.draining + self.connecting
