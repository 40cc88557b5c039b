"""The numbers wsgate publishes.

`Metrics` has one family for each, by name; `gateway.series` says how they are counted. Its
`export` gives everything of this process as one JSON-able snapshot, `merge` adds up those of many
processes, `render` makes Prometheus text of one. A number of the whole gateway (its channels) is
therefore read in one process only. Labels come from the configuration or from fixed words, never
from a client.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Any, Final, Protocol

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from fastcgi.limits import PoolStatistics

from .series import SECONDS, Counter, Family, Gauge, Histogram, Snapshot, merge

__all__ = [
    "CONTENT_TYPE",
    "ChannelNumbers",
    "Counter",
    "Family",
    "Gauge",
    "Histogram",
    "Metrics",
    "Snapshot",
    "close_label",
    "merge",
    "render",
]

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST


class ChannelNumbers(Protocol):
    """What the channels of this process count by themselves; `channels.service` has it."""

    @property
    def publications(self) -> Mapping[Any, int]:
        """Messages published, by origin."""

    @property
    def deliveries(self) -> int:
        """Publications handed to subscribers."""


class Metrics:
    """Every metric of one process, by its name without the prefix."""

    def __init__(self, version: str) -> None:
        self.connections = Family(Gauge, "connections", "Client connections that are open.")
        self.connections_total = Family(
            Counter, "connections_total", "Handshakes by what became of them.", "route result"
        )
        self.closes_total = Family(Counter, "closes_total", "Ends of connections, by code.", "code")
        self.messages_received_total = Family(
            Counter, "messages_received_total", "Messages from clients.", "route type"
        )
        self.messages_sent_total = Family(
            Counter, "messages_sent_total", "Messages to clients, by origin.", "source"
        )
        self.fastcgi_request_duration_seconds = Family(
            Histogram,
            "fastcgi_request_duration_seconds",
            "Until answered.",
            "upstream route outcome",
        )
        self.fastcgi_in_flight = Family(
            Gauge, "fastcgi_in_flight", "Requests that php-fpm is working on.", "upstream"
        )
        self.fastcgi_queue_length = Family(
            Gauge, "fastcgi_queue_length", "Requests waiting for a connection.", "upstream"
        )
        self.fastcgi_queue_wait_seconds = Family(
            Histogram, "fastcgi_queue_wait_seconds", "Waiting for a connection.", "upstream"
        )
        self.fastcgi_connections = Family(
            Gauge, "fastcgi_connections", "Connections to php-fpm, by state.", "upstream state"
        )
        self.fastcgi_retries_total = Family(
            Counter, "fastcgi_retries_total", "Requests sent again, by reason.", "upstream reason"
        )
        self.fastcgi_errors_total = Family(
            Counter, "fastcgi_errors_total", "Requests without a usable answer.", "upstream type"
        )
        self.publications_total = Family(
            Counter, "publications_total", "Messages published, by origin.", "source"
        )
        self.deliveries_total = Family(
            Counter, "deliveries_total", "Publications handed to subscribers."
        )
        self.channels = Family(Gauge, "channels", "Channels that exist.")
        self.subscriptions = Family(
            Gauge, "subscriptions", "Subscriptions of open connections to channels."
        )
        self.slow_consumers_total = Family(
            Counter, "slow_consumers_total", "Clients closed because they did not read."
        )
        self.cache_requests_total = Family(
            Counter, "cache_requests_total", "Look-ups in the cache, by result.", "result"
        )
        self.worker_restarts_total = Family(
            Counter, "worker_restarts_total", "Workers that had to be replaced."
        )
        self.source_away = Family(
            Gauge, "source_away", "Workers that cannot hear the source now.", "type match"
        )
        self.build_info = Family(Gauge, "build_info", "Always 1; says the version.", "version")
        self._watched: dict[str, Callable[[], Snapshot]] = {}
        self.build_info.labelled(version).read = lambda: 1
        for bare in (self.deliveries_total, self.slow_consumers_total, self.worker_restarts_total):
            bare.labelled()

    def families(self) -> Iterator[Family[Any]]:
        """All of them, in the order of the reference."""
        return (value for value in vars(self).values() if isinstance(value, Family))

    def closed(self, code: int) -> None:
        """Count the end of a connection; codes that a client may choose share a label."""
        self.closes_total.labelled(close_label(code)).value += 1

    def watch_pool(self, upstream: str, statistics: Callable[[], PoolStatistics]) -> None:
        """Read an upstream's pool at every scrape, in place of one watched before."""
        self._watched[f"pool {upstream}"] = lambda: _pool(upstream, statistics())

    def forget_pool(self, upstream: str) -> None:
        """Forget all numbers of an upstream that has left the configuration."""
        self._watched.pop(f"pool {upstream}", None)
        for family in self.families():
            family.forget_all("upstream", upstream)

    def forget_route(self, route: str) -> None:
        """Forget all numbers of a route that has left the configuration."""
        for family in self.families():
            family.forget_all("route", route)

    def watch_channels(self, numbers: ChannelNumbers) -> None:
        """Read what the channels count at every scrape."""
        self._watched["channels"] = lambda: _channels(numbers)

    def export(self) -> Snapshot:
        """Every number of this process."""
        own = {family.name: family.export() for family in self.families()}
        return merge([own, *(read() for read in self._watched.values())])


_RUNNING: Final = ("busy", "settling", "draining")


def _pool(upstream: str, books: PoolStatistics) -> Snapshot:
    states = ("idle", "connecting", *_RUNNING)
    return {
        "wsgate_fastcgi_in_flight": [[[upstream], sum(getattr(books, s) for s in _RUNNING)]],
        "wsgate_fastcgi_queue_length": [[[upstream], books.waiting]],
        "wsgate_fastcgi_connections": [[[upstream, s], getattr(books, s)] for s in states],
        "wsgate_fastcgi_retries_total": [[[upstream, s], n] for s, n in books.retries.items()],
    }


def _channels(numbers: ChannelNumbers) -> Snapshot:
    publications = numbers.publications.items()
    return {
        "wsgate_publications_total": [[[str(source)], n] for source, n in publications],
        "wsgate_deliveries_total": [[[], numbers.deliveries]],
        "wsgate_messages_sent_total": [[["publication"], numbers.deliveries]],
    }


_OWN_CLOSES: Final = frozenset({*range(1000, 1016), 4401, 4403, 4409, 4410})


def close_label(code: int) -> str:
    """The label of a close code: itself where it has a meaning here, else its range."""
    if code in _OWN_CLOSES:
        return str(code)
    for low, high in ((3000, 3999), (4000, 4499), (4500, 4999)):
        if low <= code <= high:
            return f"{low}-{high}"
    return "other"


def render(snapshot: Snapshot) -> bytes:
    """The snapshot as Prometheus text."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_SnapshotCollector(snapshot))
    return generate_latest(registry)


class _SnapshotCollector(Collector):
    """Turns the series of a snapshot into prometheus-client's families."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        for family in Metrics("").families():
            what = (family.name, family.explanation)
            rows = self._snapshot.get(family.name, [])
            if family.kind is Histogram:
                yield _histograms(HistogramMetricFamily(*what, labels=family.labels), rows)
            elif family.kind is Counter:
                yield _numbers(CounterMetricFamily(*what, labels=family.labels), rows)
            else:
                yield _numbers(GaugeMetricFamily(*what, labels=family.labels), rows)


def _numbers(metric: CounterMetricFamily | GaugeMetricFamily, rows: list[list[Any]]) -> Metric:
    for labels, value in rows:
        metric.add_metric(labels, value)
    return metric


_BOUNDS: Final = (*map(str, SECONDS), "+Inf")


def _histograms(metric: HistogramMetricFamily, rows: list[list[Any]]) -> Metric:
    for labels, (counts, total) in rows:
        buckets = list(zip(_BOUNDS, accumulate(counts), strict=True))
        metric.add_metric(labels, buckets, total)
    return metric
