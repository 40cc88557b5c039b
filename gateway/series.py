"""Series of numbers that are counted without being noticed, and snapshots that add up.

On the way of a frame a count is `counter.value += 1` and a duration one bisection: whoever counts
asks a family for its `Counter` or `Histogram` once, at start, and keeps it. Numbers that somebody
knows anyway are read by a function when they are asked for. Nothing here waits or takes a lock.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, TypeVar

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

    def forget_all(self, label: str, value: str) -> None:
        """Drop every series with that value of the label; nothing where there is no such label."""
        if label in self.labels:
            place = self.labels.index(label)
            for values in [values for values in self._series if values[place] == value]:
                del self._series[values]

    def export(self) -> list[list[Any]]:
        """Every series with its value."""
        return [[list(values), series.export()] for values, series in self._series.items()]


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
