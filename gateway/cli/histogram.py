"""Times in buckets of one percent: any number of them in a few kilobytes."""

import math
from array import array
from typing import Final

_SMALLEST: Final = 1e-6
_GROWTH: Final = math.log(1.01)
_BUCKETS: Final = 2000  # up to about seven minutes


class Histogram:
    """Percentiles are right to one percent; `greatest` is exact, 0.0 while empty."""

    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * _BUCKETS))
        self.count = 0
        self.greatest = 0.0

    def record(self, seconds: float) -> None:
        """Count one time."""
        bucket = int(math.log(seconds / _SMALLEST) / _GROWTH) if seconds > _SMALLEST else 0
        self._counts[min(bucket, _BUCKETS - 1)] += 1
        self.count += 1
        self.greatest = max(self.greatest, seconds)

    def percentile(self, share: float) -> float:
        """The time that `share` of all do not exceed; 0.0 while empty."""
        wanted = math.ceil(self.count * share)
        seen = 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if seen >= wanted and count:
                return min(self.greatest, _SMALLEST * math.exp((bucket + 1) * _GROWTH))
        return 0.0
