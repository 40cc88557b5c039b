"""Percentiles of a list of times."""

from collections.abc import Sequence


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of a sorted list; 0 for an empty one."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def latencies(seconds: list[float]) -> dict[str, float]:
    """The usual percentiles of times, in milliseconds."""
    seconds.sort()
    return {
        "p50_ms": percentile(seconds, 0.5) * 1000,
        "p99_ms": percentile(seconds, 0.99) * 1000,
        "p999_ms": percentile(seconds, 0.999) * 1000,
        "max_ms": percentile(seconds, 1.0) * 1000,
    }
