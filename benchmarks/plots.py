"""Plots of the results as SVG and PNG, each once for a light page and once for a dark one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks import peers
from benchmarks.results import Results, Spread


@dataclass(frozen=True, slots=True)
class Theme:
    """Ink, grid and ground of a page."""

    suffix: str
    ground: str
    ink: str
    grid: str


_THEMES: Final = (
    Theme("", "#ffffff", "#1f2328", "#d1d9e0"),
    Theme("-dark", "#0d1117", "#e6edf3", "#30363d"),
)
# One colour a peer in every plot, told apart also without colours by marker and hatch; each
# has enough contrast on both grounds.
_COLOURS: Final = {
    "wsgate": "#2f81f7",
    "nginx_lua": "#3a9d5d",
    "nginx_lua_tuned": "#8a9a1f",
    "node": "#d9822b",
    "bare": "#8b949e",
    "nchan": "#b45ec7",
    "direct": "#6e7681",
}
_MARKERS: Final = dict(zip(_COLOURS, "osD^vPX", strict=True))
_HATCHES: Final = dict(zip(_COLOURS, ["", "//", "xx", "..", "\\\\", "++", "--"], strict=True))


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture: a measure's value by case, as bars or as lines over the case's number."""

    name: str
    title: str
    measure: str
    value: str
    axis: str
    kind: str = "bars"
    cases: str = ""
    scale: float = 1.0
    without: tuple[str, ...] = ("ceiling",)
    logarithmic: bool = False


_PLOTS: Final = (
    Plot("cpu", "CPU per frame", "echo", "cpu_us", "µs of the gateway's CPU", cases="connections"),
    Plot("rate", "Frames per second", "echo", "rate", "frames/s", cases="connections"),
    Plot("p99", "99th percentile", "echo", "p99_ms", "ms", cases="connections", logarithmic=True),
    Plot(
        "aging",
        "CPU per frame as a socket ages",
        "aging",
        "cpu_us",
        "µs of the gateway's CPU",
        kind="lines",
        cases="frames that the socket has carried",
    ),
    Plot(
        "memory",
        "Memory per idle connection",
        "memory",
        "bytes_per_connection",
        "KB",
        scale=1e-3,
    ),
    Plot("growth", "Memory growth per frame", "growth", "bytes_per_frame", "bytes"),
    Plot("burst", "5,000 frames at once, 4 children", "burst", "answered", "answered"),
    Plot("fanout", "Fan-out", "fanout", "rate", "deliveries/s", cases="subscribers"),
    Plot("handshakes", "CPU per handshake", "handshakes", "cpu_us", "µs of the gateway's CPU"),
    Plot(
        "sizes",
        "CPU per frame as frames grow",
        "sizes",
        "cpu_us",
        "µs of the gateway's CPU",
        kind="lines",
        cases="bytes",
        logarithmic=True,
    ),
    Plot(
        "connections",
        "CPU per frame as sockets grow",
        "connections",
        "cpu_us",
        "µs of the gateway's CPU",
        kind="lines",
        cases="open sockets",
    ),
)


def draw(results: Results, folder: Path) -> list[Path]:
    """Draws what there are numbers for; the paths of the pictures."""
    mpl.rcParams["svg.hashsalt"] = "wsgate"  # the same numbers give the same file
    mpl.rcParams["svg.fonttype"] = "none"
    written: list[Path] = []
    for plot in _PLOTS:
        if any(name not in plot.without for name in results.peers(plot.measure)):
            for theme in _THEMES:
                figure = _figure(results, plot, theme)
                for kind in ("svg", "png"):
                    path = folder / f"{plot.name}{theme.suffix}.{kind}"
                    metadata: dict[str, Any] = {"Date": None} if kind == "svg" else {}
                    figure.savefig(path, facecolor=theme.ground, metadata=metadata, dpi=150)
                    written.append(path)
    return written


def _figure(results: Results, plot: Plot, theme: Theme) -> Figure:
    figure = Figure(figsize=(7.2, 3.8), layout="constrained")
    axes = figure.add_subplot()
    _dress(axes, plot, theme)
    names = [name for name in results.peers(plot.measure) if name in _COLOURS]
    names = [name for name in names if any(_points(results, plot, name))]
    (_bars if plot.kind == "bars" else _lines)(axes, results, plot, names, theme)
    legend = figure.legend(loc="outside lower left", frameon=False, fontsize=9, ncols=4)
    for text in legend.get_texts():
        text.set_color(theme.ink)
    return figure


def _points(results: Results, plot: Plot, peer: str) -> Iterator[tuple[str, Spread]]:
    for case in results.cases(plot.measure):
        found = results.spread(plot.measure, peer, case, plot.value)
        if found is not None:
            yield case, found


def _bars(axes: Axes, results: Results, plot: Plot, names: list[str], theme: Theme) -> None:
    cases = [
        case
        for case in results.cases(plot.measure)
        if any(results.spread(plot.measure, name, case, plot.value) for name in names)
    ]
    width = 0.8 / max(1, len(names))
    for number, name in enumerate(names):
        points = dict(_points(results, plot, name))
        places = [cases.index(case) + (number - (len(names) - 1) / 2) * width for case in points]
        heights, errors = _heights(list(points.values()), plot.scale)
        axes.bar(
            places,
            heights,
            width * 0.92,
            yerr=errors,
            label=peers.ALL[name].title,
            color=_COLOURS[name],
            hatch=_HATCHES[name],
            edgecolor=theme.ground,
            ecolor=theme.ink,
            capsize=2,
        )
        if len(cases) == 1:
            for place, height in zip(places, heights, strict=True):
                axes.annotate(
                    f"{height:,.1f}" if height < 100 else f"{height:,.0f}",
                    (place, height),
                    textcoords="offset points",
                    xytext=(0, 5),
                    ha="center",
                    color=theme.ink,
                    fontsize=9,
                )
    axes.set_xticks(range(len(cases)) if plot.cases else [], _labels(cases) if plot.cases else [])
    axes.margins(y=0.2)


def _lines(axes: Axes, results: Results, plot: Plot, names: list[str], theme: Theme) -> None:
    del theme
    for name in names:
        points = list(_points(results, plot, name))
        heights, errors = _heights([spread for _, spread in points], plot.scale)
        axes.errorbar(
            [float(case) for case, _ in points],
            heights,
            yerr=errors,
            label=peers.ALL[name].title,
            color=_COLOURS[name],
            marker=_MARKERS[name],
            capsize=2,
        )
    if plot.logarithmic:
        axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(_written))
    axes.set_ylim(bottom=None if plot.logarithmic else 0)


def _heights(spreads: list[Spread], scale: float) -> tuple[list[float], list[list[float]]]:
    below: Callable[[Spread], float] = lambda s: (s.median - s.least) * scale  # noqa: E731  # read side by side
    above: Callable[[Spread], float] = lambda s: (s.greatest - s.median) * scale  # noqa: E731  # with this one
    return (
        [spread.median * scale for spread in spreads],
        [[below(spread) for spread in spreads], [above(spread) for spread in spreads]],
    )


def _labels(cases: list[str]) -> list[str]:
    return [f"{int(case):,}" if case.isdigit() else case for case in cases]


def _dress(axes: Axes, plot: Plot, theme: Theme) -> None:
    axes.set_facecolor(theme.ground)
    axes.set_title(plot.title, color=theme.ink, loc="left", fontsize=12)
    axes.set_xlabel(plot.cases, color=theme.ink)
    axes.set_ylabel(plot.axis, color=theme.ink)
    axes.tick_params(which="both", colors=theme.ink)
    axes.grid(axis="y", color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(theme.grid)
    if plot.logarithmic:
        axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(_written))


def _written(value: float, _place: float | None = None) -> str:
    return f"{value:,.10g}"
