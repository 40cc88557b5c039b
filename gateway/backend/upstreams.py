"""The php-fpm pools of the configuration, by name, with their numbers."""

import asyncio
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fastcgi import (
    FastCGIError,
    Limits,
    Pool,
    PoolError,
    QueueTimeoutError,
    RequestTimeoutError,
    parse_address,
)
from gateway.codes import failure_of
from gateway.config.upstreams import Upstream as Settings
from gateway.metrics import Counter, Histogram, Metrics

from .lines import Lines

if TYPE_CHECKING:
    from .invocation import Invocation


class Upstream:
    """One pool, its settings, and what is counted of its requests."""

    def __init__(self, name: str, settings: Settings, pool: Pool, metrics: Metrics) -> None:
        self.name = name
        self.settings = settings
        self.pool = pool
        # Of all routes and rules together: they share the sessions that PHP locks.
        self.lines: Lines[Invocation] = Lines(
            limit=settings.queue_size, wait=settings.queue_timeout
        )
        self._metrics = metrics
        self.waits = metrics.fastcgi_queue_wait_seconds.labelled(name)
        self._errors: dict[str, Counter] = {}

    def observe_failure(self, route: str, invocation: "Invocation", error: FastCGIError) -> None:
        """Count a failure; its duration counts only where PHP was asked."""
        kind = failure_of(error).type
        counter = self._errors.get(kind)
        if counter is None:
            counter = self._metrics.fastcgi_errors_total.labelled(self.name, kind)
            self._errors[kind] = counter
        counter.value += 1
        if invocation.sent_at and not isinstance(error, PoolError):
            outcome = "timeout" if isinstance(error, RequestTimeoutError) else "error"
            self.durations(route, outcome).observe(time.monotonic() - invocation.sent_at)

    def expire(self, now: float) -> None:
        """Fail those who have waited too long behind others of their key."""
        for invocation in self.lines.expire(now):
            invocation.on_failure(QueueTimeoutError(self.settings.queue_timeout))

    async def close(self, within: float) -> None:
        """Let what is running end, at most `within` seconds, then close every connection."""
        await self.pool.drain(within)
        await self.pool.close()

    def durations(self, route: str, outcome: str) -> Histogram:
        """How long PHP took for the requests of a route that ended so."""
        return self._metrics.fastcgi_request_duration_seconds.labelled(self.name, route, outcome)


class Upstreams:
    """All pools of one configuration; made at start and at reload, drained when replaced.

    An upstream that a reload has not changed keeps its pool: what is open and what waits stays.
    """

    def __init__(
        self,
        settings: dict[str, Settings],
        metrics: Metrics,
        before: "Upstreams | None" = None,
    ) -> None:
        kept = {} if before is None else {each.name: each for each in before}
        self._upstreams: dict[str, Upstream] = {
            name: kept[name]
            if name in kept and kept[name].settings == upstream
            else Upstream(name, upstream, _pool(upstream), metrics)
            for name, upstream in settings.items()
        }

    def __getitem__(self, name: str) -> Upstream:
        return self._upstreams[name]

    def __iter__(self) -> Iterator[Upstream]:
        return iter(self._upstreams.values())

    async def close(self, within: float, *, successors: "Upstreams | None" = None) -> None:
        """Let what is running end, at most `within` seconds, then close every connection.

        What the successors have taken over is left alone.
        """
        kept = set() if successors is None else set(successors)
        await asyncio.gather(*(each.close(within) for each in self if each not in kept))


def _pool(settings: Settings) -> Pool:
    limits = Limits(
        max_connections=settings.max_connections,
        keepalive=settings.keepalive,
        keepalive_max_body=settings.keepalive_max_body,
        idle_timeout=settings.idle_timeout,
        connect_timeout=settings.connect_timeout,
        queue_size=settings.queue_size,
        queue_timeout=settings.queue_timeout,
        retry_for=settings.retry_for,
        max_response=settings.max_response,
    )
    return Pool([parse_address(str(address)) for address in settings.address], limits)
