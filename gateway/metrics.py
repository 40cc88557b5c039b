"""The numbers wsgate publishes, and how they are counted without being noticed.

On the way of a frame a count is `counter.value += 1` and a duration one bisection: whoever counts
asks for its `Counter` or `Histogram` once, at start, and keeps it. Numbers that somebody knows
anyway (open sockets, a pool's books) are read by a function at the moment of the scrape.

`Metrics.export` gives everything as one JSON-able snapshot; `merge` adds up the snapshots of many
processes; `render` makes Prometheus text of one. A number of the whole gateway (its channels) is
therefore read in one process only. Labels come from the configuration or from fixed words, never
from a client; nothing here waits.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Any, Final, Generic, TypeVar

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from fastcgi.limits import PoolStatistics

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

Snapshot = dict[str, list[list[Any]]]
"""Of each metric its series: [label values, number], or [label values, [counts, sum]]."""

SECONDS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
"""Upper bounds of the buckets; what took longer falls into one without a bound."""


class Counter:
    """A number that only grows; whoever counts adds to `value`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def export(self) -> int:
        """The count as it stands."""
        return self.value


class Histogram:
    """How often a duration fell into each bucket."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration; one that equals a bound belongs below it."""
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.sum += seconds

    def export(self) -> list[Any]:
        """The counts of the buckets, each for itself, and the sum."""
        return [list(self.counts), self.sum]


class Gauge:
    """A number that somebody else keeps; `read` says it, and must not wait."""

    __slots__ = ("read",)

    def __init__(self) -> None:
        self.read: Callable[[], float] = int

    def export(self) -> float:
        """What it is now."""
        return self.read()


_SeriesT = TypeVar("_SeriesT", Counter, Histogram, Gauge)


class Family(Generic[_SeriesT]):
    """One metric: its name, its labels, and a series for each combination of their values."""

    def __init__(self, kind: type[_SeriesT], name: str, explanation: str, labels: str = "") -> None:
        self.kind: type[_SeriesT] = kind
        self.name = f"wsgate_{name}"
        self.explanation = explanation
        self.labels = tuple(labels.split())
        self._series: dict[tuple[str, ...], _SeriesT] = {}

    def labelled(self, *values: str) -> _SeriesT:
        """The series of these label values, the same object each time; keep it where it counts."""
        if len(values) != len(self.labels):
            raise ValueError(f"{self.name} has the labels {self.labels}, got {values}")
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = self.kind()
        return series

    def forget(self, *values: str) -> None:
        """Drop a series, when what it counted has left the configuration."""
        self._series.pop(values, None)

    def export(self) -> list[list[Any]]:
        """Every series with its value."""
        return [[list(values), series.export()] for values, series in self._series.items()]


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
        self.build_info = Family(Gauge, "build_info", "Always 1; says the version.", "version")
        self._pools: dict[str, Callable[[], PoolStatistics]] = {}
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
        self._pools[upstream] = statistics

    def forget_pool(self, upstream: str) -> None:
        """Stop reading the pool of an upstream that has left the configuration."""
        self._pools.pop(upstream, None)

    def export(self) -> Snapshot:
        """Every number of this process."""
        own = {family.name: family.export() for family in self.families()}
        pools = (_pool(upstream, read()) for upstream, read in self._pools.items())
        return merge([own, *pools])


_RUNNING: Final = ("busy", "settling", "draining")


def _pool(upstream: str, books: PoolStatistics) -> Snapshot:
    states = ("idle", "connecting", *_RUNNING)
    errors = ((_word(name), count) for name, count in books.errors.items())
    return {
        "wsgate_fastcgi_in_flight": [[[upstream], sum(getattr(books, s) for s in _RUNNING)]],
        "wsgate_fastcgi_queue_length": [[[upstream], books.waiting]],
        "wsgate_fastcgi_connections": [[[upstream, s], getattr(books, s)] for s in states],
        "wsgate_fastcgi_retries_total": [[[upstream, s], n] for s, n in books.retries.items()],
        "wsgate_fastcgi_errors_total": [[[upstream, s], n] for s, n in errors],
    }


def _word(error: str) -> str:
    """The label of an error class: QueueFullError is queue_full."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", error.removesuffix("Error")).lower()


_OWN_CLOSES: Final = frozenset({*range(1000, 1016), 4401, 4403, 4409, 4410})


def close_label(code: int) -> str:
    """The label of a close code: itself where it has a meaning here, else its range."""
    if code in _OWN_CLOSES:
        return str(code)
    for low, high in ((3000, 3999), (4000, 4499), (4500, 4999)):
        if low <= code <= high:
            return f"{low}-{high}"
    return "other"


_SAME_EVERYWHERE: Final = "wsgate_build_info"


def merge(snapshots: Iterable[Snapshot]) -> Snapshot:
    """The sum of many processes' numbers; a metric or a series may be missing in some."""
    merged: dict[str, dict[tuple[str, ...], Any]] = {}
    for snapshot in snapshots:
        for name, rows in snapshot.items():
            series = merged.setdefault(name, {})
            for labels, value in rows:
                key = tuple(labels)
                same = key not in series or name == _SAME_EVERYWHERE
                series[key] = value if same else _add(series[key], value)
    return {
        name: [[list(labels), value] for labels, value in series.items()]
        for name, series in merged.items()
    }


def _add(left: Any, right: Any) -> Any:
    if not isinstance(left, list):
        return left + right
    counts = [one + other for one, other in zip(left[0], right[0], strict=True)]
    return [counts, left[1] + right[1]]


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
