"""The numbers as tables: rows are questions, columns are peers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks import peers
from benchmarks.results import Results
from benchmarks.targets import verdicts


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table; `short` rows stand in the README too."""

    title: str
    measure: str
    case: str
    value: str
    form: Callable[[float], str]
    short: bool = False


def _whole(number: float) -> str:
    return f"{number:,.0f}"


def _micro(number: float) -> str:
    return f"{number:.1f}"


def _milli(number: float) -> str:
    return f"{number:.2f}" if number < 10 else f"{number:.0f}"


def _kilo(number: float) -> str:
    return f"{number / 1000:.1f}"


def _bytes(number: float) -> str:
    return "0" if abs(number) < 1 else f"{number:,.0f}"


def _rows() -> Iterator[Row]:
    for load in ("8", "64", "500"):
        yield Row(f"frames/s, {load} connections", "echo", load, "rate", _whole, load == "64")
        yield Row(f"p50 ms, {load} connections", "echo", load, "p50_ms", _milli, load == "64")
        yield Row(f"p99 ms, {load} connections", "echo", load, "p99_ms", _milli, load == "64")
        yield Row(f"p99.9 ms, {load} connections", "echo", load, "p999_ms", _milli)
        yield Row(f"CPU µs a frame, {load} connections", "echo", load, "cpu_us", _micro)
    for age, title in (("0", "new sockets"), ("200", "after 200 frames"), ("1000", "after 1,000")):
        short = age != "200"
        yield Row(f"CPU µs a frame, {title}", "aging", age, "cpu_us", _micro, short)
    yield Row(
        "growth, bytes a frame", "growth", "open sockets", "bytes_per_frame", _bytes, short=True
    )
    yield Row("burst of 5,000: answered", "burst", "burst", "answered", _whole, short=True)
    yield Row("burst of 5,000: errors", "burst", "burst", "errors", _whole)
    yield Row("burst of 5,000: lost", "burst", "burst", "lost", _whole)
    yield Row("burst of 5,000: seconds", "burst", "burst", "seconds", _milli)
    yield Row(
        "php-fpm children held at idle", "idle_children", "after 2 s", "held", _whole, short=True
    )
    yield Row("KB an idle connection", "memory", "idle", "bytes_per_connection", _kilo, short=True)
    for crowd in ("1000", "5000", "9000"):
        yield Row(
            f"MB with {int(crowd):,} idle",
            "memory",
            "idle",
            f"at_{crowd}",
            lambda b: _kilo(b / 1e3),
        )
    yield Row(
        "KB a subscribed connection",
        "memory_subscribed",
        "subscribed",
        "bytes_per_connection",
        _kilo,
        short=True,
    )
    yield Row("publish to receive, p50 ms", "fanout", "1", "p50_ms", _milli, short=True)
    yield Row("publish to receive, p99 ms", "fanout", "1", "p99_ms", _milli)
    for audience in ("1000", "8000"):
        title = f"fan-out to {int(audience):,}"
        yield Row(f"{title}: deliveries/s", "fanout", audience, "rate", _whole, short=True)
        yield Row(f"{title}: CPU µs each", "fanout", audience, "cpu_us", _micro)
        yield Row(f"{title}: p99 ms", "fanout", audience, "p99_ms", _milli)
    yield Row("handshakes/s", "handshakes", "handshakes", "rate", _whole, short=True)
    yield Row("CPU µs a handshake", "handshakes", "handshakes", "cpu_us", _micro, short=True)
    for size, title in (
        ("100", "100 B"),
        ("1024", "1 KiB"),
        ("10240", "10 KiB"),
        ("102400", "100 KiB"),
        ("1048576", "1 MiB"),
    ):
        yield Row(f"CPU µs a frame of {title}", "sizes", size, "cpu_us", _micro)
        yield Row(f"frames/s of {title}", "sizes", size, "rate", _whole)
    for crowd in ("10", "100", "1000", "5000", "9000"):
        title = f"CPU µs a frame among {int(crowd):,} sockets"
        yield Row(title, "connections", crowd, "cpu_us", _micro)
    yield from _rows_of_workers()


def _rows_of_workers() -> Iterator[Row]:
    counts = (("1", "one worker"), ("2", "two workers"))
    for workers, title in counts:
        yield Row(f"frames/s, {title}", "workers", workers, "rate", _whole)
        yield Row(f"CPU µs a frame, {title}", "workers", workers, "cpu_us", _micro)
    for workers, title in counts:
        case = f"1 over {workers}"
        yield Row(f"publish to receive, p50 ms, {title}", "fanout_workers", case, "p50_ms", _milli)
        for audience in ("1000", "8000"):
            case, to = f"{audience} over {workers}", f"fan-out to {int(audience):,}"
            yield Row(f"{to}: deliveries/s, {title}", "fanout_workers", case, "rate", _whole)
            yield Row(f"{to}: CPU µs each, {title}", "fanout_workers", case, "cpu_us", _micro)
    for case, what in (("silent", "that publish nothing"), ("publishing", "that PHP publishes")):
        yield Row(f"frames/s {what}", "hub", case, "rate", _whole)
        yield Row(f"CPU µs of frames {what}", "hub", case, "cpu_us", _micro)
    yield Row("publications/s, one after the other", "hub", "awaited", "rate", _whole)
    yield Row("p50 ms of such a publication", "hub", "awaited", "p50_ms", _milli)
    yield Row("CPU µs of such a publication", "hub", "awaited", "cpu_us", _micro)


def table(results: Results, *, short: bool, spread: bool) -> list[list[str]]:
    """Lines of cells, the heading first; only rows and columns that have numbers."""
    rows = [row for row in _rows() if row.measure in results.measured and (row.short or not short)]
    columns = [
        name
        for name in peers.ALL
        if any(name in results.peers(row.measure) for row in rows)
        and not (short and name in ("bare", "ceiling"))
    ]
    lines = [["", *(peers.ALL[name].title for name in columns)]]
    for row in rows:
        cells = []
        for name in columns:
            found = results.spread(row.measure, name, row.case, row.value)
            if found is None:
                cells.append("")
            else:
                cells.append(found.text(row.form) if spread else row.form(found.median))
        if any(cells):
            lines.append([row.title, *cells])
    return lines


def target_table(results: Results) -> list[list[str]]:
    lines = [["target", "wanted", "measured", ""]]
    lines.extend(
        [verdict.title, verdict.wanted, verdict.measured, "met" if verdict.met else "**missed**"]
        for verdict in verdicts(results)
    )
    return lines


def share_of_limit(results: Results) -> list[list[str]]:
    """Frames per second as a share of what php-fpm gives without a gateway."""
    names = [n for n in results.peers("echo") if n not in ("direct", "ceiling")]
    lines = [["share of php-fpm alone", *(peers.ALL[name].title for name in names)]]
    for case in results.cases("echo"):
        cells = []
        for name in names:
            ratio = results.ratio("echo", case, "rate", of=name, to="direct")
            cells.append("" if ratio is None else ratio.text(lambda share: f"{share:.0%}"))
        lines.append([f"{case} connections", *cells])
    return lines if names and any(any(line[1:]) for line in lines[1:]) else []


def markdown(lines: list[list[str]]) -> str:
    """A Markdown table; nothing for one without rows."""
    if len(lines) < 2:
        return ""
    head, *rest = lines
    rule = ["---", *("---:" for _ in head[1:])]
    return "".join("| " + " | ".join(line) + " |\n" for line in [head, rule, *rest])
