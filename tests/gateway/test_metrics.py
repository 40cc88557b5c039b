import json
from collections import Counter
from dataclasses import dataclass

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fastcgi.limits import PoolStatistics
from gateway.metrics import Metrics, close_label, merge, render
from gateway.series import SECONDS, Histogram

NAMES = {
    "wsgate_connections",
    "wsgate_connections_total",
    "wsgate_closes_total",
    "wsgate_messages_received_total",
    "wsgate_messages_sent_total",
    "wsgate_fastcgi_request_duration_seconds",
    "wsgate_fastcgi_in_flight",
    "wsgate_fastcgi_queue_length",
    "wsgate_fastcgi_queue_wait_seconds",
    "wsgate_fastcgi_connections",
    "wsgate_fastcgi_retries_total",
    "wsgate_fastcgi_errors_total",
    "wsgate_publications_total",
    "wsgate_deliveries_total",
    "wsgate_channels",
    "wsgate_subscriptions",
    "wsgate_slow_consumers_total",
    "wsgate_cache_requests_total",
    "wsgate_worker_restarts_total",
    "wsgate_source_away",
    "wsgate_build_info",
}


def books(**counts: int) -> PoolStatistics:
    numbers = dict.fromkeys(
        ("limit", "idle", "busy", "settling", "draining", "connecting", "waiting"), 0
    )
    numbers |= dict.fromkeys(("sent", "answered", "connects"), 0) | counts
    return PoolStatistics(
        **numbers,
        oldest_wait=0.0,
        retries={"half_closed": 2},
        errors={},
        away=(),
    )


def samples(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    text = render(metrics.export()).decode()
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_names_are_those_of_the_contract() -> None:
    assert set(Metrics("1.0").export()) == NAMES
    text = render(Metrics("1.0").export()).decode()
    assert {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")} == NAMES


def test_a_counter_shows_what_was_added_to_it() -> None:
    metrics = Metrics("1.0")
    received = metrics.messages_received_total.labelled("chat", "text")
    received.value += 2
    assert metrics.messages_received_total.labelled("chat", "text") is received
    assert samples(metrics)["wsgate_messages_received_total", ("chat", "text")] == 2


def test_labels_must_be_those_of_the_metric() -> None:
    with pytest.raises(ValueError, match="has the labels"):
        Metrics("1.0").connections_total.labelled("chat")


def test_a_gauge_is_read_at_every_scrape() -> None:
    metrics = Metrics("1.0")
    sockets: list[int] = []
    metrics.connections.labelled().read = lambda: len(sockets)
    assert samples(metrics)["wsgate_connections", ()] == 0
    sockets.append(1)
    assert samples(metrics)["wsgate_connections", ()] == 1


def test_counters_without_labels_are_there_before_anything_happens() -> None:
    """A rate over a series that appears with its first event misses that event."""
    seen = samples(Metrics("1.0"))
    assert seen["wsgate_deliveries_total", ()] == 0
    assert seen["wsgate_slow_consumers_total", ()] == 0
    assert seen["wsgate_worker_restarts_total", ()] == 0
    assert seen["wsgate_build_info", ("1.0",)] == 1


def test_buckets_are_added_up_and_a_bound_belongs_below_itself() -> None:
    metrics = Metrics("1.0")
    histogram = metrics.fastcgi_queue_wait_seconds.labelled("app")
    for seconds in (SECONDS[0], 0.02, 60.0):
        histogram.observe(seconds)
    seen = samples(metrics)
    name = "wsgate_fastcgi_queue_wait_seconds"
    assert seen[f"{name}_bucket", ("0.0005", "app")] == 1
    assert seen[f"{name}_bucket", ("0.01", "app")] == 1
    assert seen[f"{name}_bucket", ("0.025", "app")] == 2
    assert seen[f"{name}_bucket", ("30.0", "app")] == 2
    assert seen[f"{name}_bucket", ("+Inf", "app")] == 3
    assert seen[f"{name}_count", ("app",)] == 3
    assert seen[f"{name}_sum", ("app",)] == pytest.approx(60.0205)


def test_a_histogram_keeps_no_more_than_its_buckets() -> None:
    histogram = Histogram()
    for number in range(1000):
        histogram.observe(number / 10)
    assert len(histogram.counts) == len(SECONDS) + 1
    assert sum(histogram.counts) == 1000


def test_a_pool_is_watched_until_it_is_forgotten() -> None:
    metrics = Metrics("1.0")
    moments = iter([books(), books(busy=2, settling=1, idle=1, waiting=9)])
    metrics.watch_pool("app", lambda: next(moments))
    assert samples(metrics)["wsgate_fastcgi_queue_length", ("app",)] == 0
    seen = samples(metrics)
    assert seen["wsgate_fastcgi_in_flight", ("app",)] == 3
    assert seen["wsgate_fastcgi_queue_length", ("app",)] == 9
    assert seen["wsgate_fastcgi_connections", ("idle", "app")] == 1
    assert seen["wsgate_fastcgi_retries_total", ("half_closed", "app")] == 2

    metrics.forget_pool("app")
    assert not [labels for _, labels in samples(metrics) if "app" in labels]


def test_a_route_that_is_forgotten_leaves_no_number_and_takes_no_other() -> None:
    metrics = Metrics("1.0")
    for route in ("chat", "old"):
        metrics.messages_received_total.labelled(route, "text").value = 1
        metrics.fastcgi_request_duration_seconds.labelled("app", route, "ok").observe(0.1)

    metrics.forget_route("old")

    assert not [labels for _, labels in samples(metrics) if "old" in labels]
    assert samples(metrics)["wsgate_messages_received_total", ("chat", "text")] == 1


@dataclass
class Channels:
    publications: Counter[str]
    deliveries: int = 7


def test_what_the_channels_count_is_read_at_the_scrape() -> None:
    metrics = Metrics("1.0")
    channels = Channels(Counter({"api": 2, "php": 3}))
    metrics.watch_channels(channels)
    channels.deliveries += 1
    seen = samples(metrics)
    assert seen["wsgate_publications_total", ("api",)] == 2
    assert seen["wsgate_publications_total", ("php",)] == 3
    assert seen["wsgate_deliveries_total", ()] == 8


def test_many_processes_add_up_even_through_json() -> None:
    one, other = Metrics("1.0"), Metrics("1.0")
    one.deliveries_total.labelled().value = 5
    other.deliveries_total.labelled().value = 6
    other.closes_total.labelled("1000").value = 1
    one.fastcgi_queue_wait_seconds.labelled("app").observe(0.5)
    other.fastcgi_queue_wait_seconds.labelled("app").observe(0.5)
    exported = [json.loads(json.dumps(metrics.export())) for metrics in (one, other)]

    merged = merge(exported)

    assert merged["wsgate_deliveries_total"] == [[[], 11]]
    assert merged["wsgate_closes_total"] == [[["1000"], 1]]
    assert merged["wsgate_build_info"] == [[["1.0"], 1]]
    ((_, (counts, total)),) = merged["wsgate_fastcgi_queue_wait_seconds"]
    assert (sum(counts), total) == (2, 1.0)
    assert one.deliveries_total.labelled().value == 5


def test_merging_changes_nothing_that_it_was_given() -> None:
    metrics = Metrics("1.0")
    metrics.fastcgi_queue_wait_seconds.labelled("app").observe(0.5)
    exported = metrics.export()
    before = json.dumps(exported)
    merge([exported, exported])
    assert json.dumps(exported) == before


def test_a_client_cannot_make_a_series_for_each_close_code() -> None:
    assert {close_label(code) for code in range(3000, 5000)} == {
        *("3000-3999", "4000-4499", "4500-4999"),
        *("4401", "4403", "4409", "4410"),
    }
    assert close_label(1006) == "1006"
    assert close_label(99999) == close_label(0) == "other"


def test_an_end_is_counted_under_its_code() -> None:
    metrics = Metrics("1.0")
    metrics.closed(1000)
    metrics.closed(4001)
    metrics.closed(4002)
    seen = samples(metrics)
    assert seen["wsgate_closes_total", ("1000",)] == 1
    assert seen["wsgate_closes_total", ("4000-4499",)] == 2
