"""How `wsgate bench` shows a run: live lines, a table at the end, a plot."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from .bench_limit import Limit
from .bench_load import Counts

if TYPE_CHECKING:  # the extra is loaded only when a plot is asked for
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def live(counts: Counts, seconds: float) -> Table:
    """Where a run stands."""
    grid = Table.grid(padding=(0, 2))
    latency = counts.times
    rate = counts.timeline[-1][1] if counts.timeline else 0.0
    grid.add_row(
        f"{seconds:5.0f} s",
        f"{counts.opened:,} open",
        f"{counts.answered:,} answered",
        f"{rate:,.0f}/s",
        f"p50 {latency.percentile(0.5) * 1000:.2f} ms",
        f"p99 {latency.percentile(0.99) * 1000:.2f} ms",
        f"[red]{counts.errors.total():,} errors[/]" if counts.errors else "no errors",
    )
    return grid


def table(summary: dict[str, Any]) -> Table:
    """The numbers of a run."""
    shown = Table(show_header=False, box=None, padding=(0, 2))
    latency = summary["latency_ms"]
    shown.add_row("connections", f"{summary['connections']:,}")
    shown.add_row("frames", f"{summary['sent']:,} sent, {summary['answered']:,} answered")
    if summary["pushed"]:
        shown.add_row("pushed", f"{summary['pushed']:,} frames nobody had asked for")
    shown.add_row("rate", f"{summary['rate']:,.1f} answers/s over {summary['seconds']:.1f} s")
    for name in ("p50", "p90", "p99", "max"):
        shown.add_row(name, f"{latency[name]:,.2f} ms")
    if summary["sent_late_ms"]["p99"] > max(1.0, latency["p99"] / 2):
        shown.add_row(
            "note",
            f"frames left up to {summary['sent_late_ms']['p99']:.1f} ms late: this client "
            "or the handler cannot keep the timetable",
        )
    for kind, count in summary["errors"].items():
        shown.add_row("[red]errors[/]", f"{count:,}  {kind}")
    if not summary["errors"]:
        shown.add_row("errors", "none")
    return shown


def limit_table(limit: Limit) -> Table:
    """The steps of the search, and its result."""
    shown = Table(box=None, padding=(0, 2))
    for heading in ("frames/s", "answered/s", "p99 ms", "errors"):
        shown.add_column(heading, justify="right")
    for step in sorted(limit.steps, key=lambda step: step.rate):
        mark = "bold green" if step.rate == limit.rate else ""
        cells = (f"{step.rate:,.0f}", f"{step.answered:,.0f}", f"{step.p99 * 1000:,.2f}")
        shown.add_row(*cells, f"{step.errors:,}", style=mark)
    return shown


def verdict(limit: Limit) -> str:
    """The result in a sentence."""
    if not limit.rate:
        return "even the lowest rate is too much"
    by = "; beyond it this client was the limit, not the handler" if limit.sender_bound else ""
    return (
        f"the knee is at {limit.rate:,.0f} frames/s "
        f"(p99 without load {limit.floor * 1000:.2f} ms){by}"
    )


def limit_summary(limit: Limit) -> dict[str, Any]:
    """The search as JSON."""
    return {
        "knee": round(limit.rate, 1),
        "floor_p99_ms": round(limit.floor * 1000, 3),
        "client_bound": limit.sender_bound,
        "steps": [
            {
                "rate": round(step.rate, 1),
                "answered": round(step.answered, 1),
                "p99_ms": round(step.p99 * 1000, 3),
                "errors": step.errors,
            }
            for step in limit.steps
        ],
    }


def plot_run(path: Path, url: str, timeline: Sequence[tuple[float, float, float, float]]) -> None:
    """Answers a second and times, second by second."""
    figure, (above, below) = _axes(url, rows=2)
    seconds = [at for at, *_ in timeline]
    above.plot(seconds, [rate for _, rate, _, _ in timeline], marker="o", markersize=3)
    above.set_ylabel("answers/s")
    above.set_ylim(bottom=0)
    below.plot(seconds, [p50 * 1000 for _, _, p50, _ in timeline], label="p50", marker="o")
    below.plot(seconds, [p99 * 1000 for _, _, _, p99 in timeline], label="p99", marker="s")
    below.set_xlabel("seconds")
    below.set_ylabel("ms")
    below.set_ylim(bottom=0)
    below.legend()
    figure.savefig(path, dpi=150)


def plot_limit(path: Path, url: str, limit: Limit) -> None:
    """p99 over the rate, with the knee."""
    figure, (axes,) = _axes(url, rows=1)
    steps = sorted(limit.steps, key=lambda step: step.rate)
    axes.plot([step.rate for step in steps], [step.p99 * 1000 for step in steps], marker="o")
    if limit.rate:
        axes.axvline(limit.rate, linestyle="--", label=f"knee: {limit.rate:,.0f} frames/s")
        axes.legend()
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("frames/s")
    axes.set_ylabel("p99 ms")
    figure.savefig(path, dpi=150)


def check_plotting() -> None:
    """A plot needs the extra; better said before the load than after it."""
    try:
        import matplotlib  # noqa: F401, ICN001, PLC0415 - an extra, not always there
    except ImportError:
        raise click.ClickException("--plot needs matplotlib: pip install 'wsgate[bench]'") from None


def _axes(url: str, *, rows: int) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, not always there

    figure = Figure(figsize=(8, 3 * rows + 1), layout="constrained")
    figure.suptitle(url)
    axes = [figure.add_subplot(rows, 1, number + 1) for number in range(rows)]
    for one in axes:
        one.grid(visible=True, alpha=0.3)
    return figure, axes
