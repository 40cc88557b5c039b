"""What many connections received, counted; knows no sockets and no clock of its own."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Tally:
    """The counts of one run with many connections; `received` has one entry a connection."""

    wanted: int
    received: list[int] = field(default_factory=list)
    bytes_received: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    closes: Counter[int] = field(default_factory=Counter)
    open: int = 0
    _last_total: int = 0
    _last_at: float = 0.0

    def opened(self) -> int:
        """Count a connection in; its number is what `frame` wants."""
        self.open += 1
        self.received.append(0)
        return len(self.received) - 1

    def frame(self, connection: int, size: int) -> None:
        """One frame has come on a connection."""
        self.received[connection] += 1
        self.bytes_received += size

    def closed(self, code: int) -> None:
        """A connection was closed by the other side."""
        self.open -= 1
        self.closes[code] += 1

    def progress(self, seconds: float) -> dict[str, Any]:
        """Where the run stands, and the rate since the last call."""
        total = sum(self.received)
        elapsed = seconds - self._last_at
        rate = (total - self._last_total) / elapsed if elapsed > 0 else 0.0
        self._last_total, self._last_at = total, seconds
        return {
            "seconds": round(seconds, 1),
            "open": self.open,
            "failed": self.failures.total(),
            "received": total,
            "rate": round(rate),
            "least": min(self.received, default=0),
            "most": max(self.received, default=0),
        }

    def summary(self, seconds: float) -> dict[str, Any]:
        """The whole run."""
        counts = sorted(self.received)
        total = sum(counts)
        return {
            "seconds": round(seconds, 1),
            "connections": {
                "wanted": self.wanted,
                "opened": len(counts),
                "failed": dict(self.failures),
                "closed": {str(code): count for code, count in sorted(self.closes.items())},
            },
            "received": total,
            "bytes": self.bytes_received,
            "rate": round(total / seconds, 1) if seconds > 0 else 0.0,
            "per_connection": {
                "least": counts[0] if counts else 0,
                "median": counts[len(counts) // 2] if counts else 0,
                "most": counts[-1] if counts else 0,
            },
        }


def progress_line(progress: dict[str, Any]) -> str:
    """One line for a terminal."""
    failed = f", {progress['failed']} failed" if progress["failed"] else ""
    return (
        f"{progress['seconds']:.0f}s  {progress['open']:,} open{failed}  "
        f"{progress['received']:,} frames ({progress['rate']:,}/s)  "
        f"{progress['least']:,} to {progress['most']:,} each"
    )


def summary_table(summary: dict[str, Any]) -> str:
    """The table at the end of a run."""
    connections, each = summary["connections"], summary["per_connection"]
    rows = [
        ("connections", f"{connections['opened']:,} of {connections['wanted']:,} opened"),
        *(("  failed", f"{count:,}  {why}") for why, count in connections["failed"].items()),
        *(("  closed", f"{count:,}  code {code}") for code, count in connections["closed"].items()),
        ("frames received", f"{summary['received']:,} in {summary['seconds']} s"),
        ("frames per second", f"{summary['rate']:,}"),
        ("bytes received", f"{summary['bytes']:,}"),
        (
            "frames a connection",
            f"least {each['least']:,}, median {each['median']:,}, most {each['most']:,}",
        ),
    ]
    return "\n".join(f"{name:<20} {value}" for name, value in rows)
