"""`wsgate bench URL`: load for a handler of one's own, and what it did with it.

Ends with 0 when frames were answered, with 1 when none were or no connection could be opened,
with 2 for a wrong call. Errors among answers are shown and counted, and leave the exit at 0: what
is too many only the caller knows.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any, Final

import click
import uvloop
from rich.console import Console
from rich.live import Live

from . import arguments, bench_report
from .bench_clients import Headers, opener
from .bench_limit import Limit, Step, find_limit
from .bench_load import Counts, Load, Plan

_DURATION: Final = 10.0
_STEP_DURATION: Final = 3.0
_LOWEST_RATE: Final = 50.0


async def run_load(plan: Plan, console: Console) -> Counts:
    """One run with live progress."""
    clients = opener()
    load = Load(plan, clients)
    showing = asyncio.create_task(_show(load, console), name="bench progress")
    try:
        await load.run()
    except asyncio.CancelledError:
        pass  # Ctrl-C: what was measured so far is still wanted
    finally:
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)
        await clients.close()
    return load.counts


async def search_limit(plan: Plan, console: Console) -> Limit:
    """Runs of rising rates on the same connections, until the times leave the floor."""
    clients = opener()
    load = Load(plan, clients)
    try:
        await load.open()
        if not load.counts.opened:
            raise click.ClickException(_why_none_opened(load.counts))

        async def measure(rate: float) -> Step:
            step = await _step(load, plan, rate)
            console.print(
                f"{rate:9,.0f} frames/s: p99 {step.p99 * 1000:9.2f} ms, "
                f"{step.answered:9,.0f} answered/s, {step.errors} errors"
            )
            return step

        return await find_limit(measure, start=plan.rate or _LOWEST_RATE)
    finally:
        await load.close()
        await clients.close()


async def _step(load: Load, plan: Plan, rate: float) -> Step:
    """One rate, counted by itself. What an earlier step has lost is opened again first."""
    if not load.complete:
        await load.close()
        await load.open()
    load.counts = counts = Counts()
    await load.send(rate, plan.seconds)
    return Step(
        rate,
        counts.answered / counts.seconds,
        counts.times.percentile(0.99),
        counts.errors.total(),
        counts.late.percentile(0.99),
    )


async def _show(load: Load, console: Console) -> None:
    if not console.is_terminal:
        return
    started = time.monotonic()
    with Live(console=console, transient=True, auto_refresh=False) as live:
        while True:
            live.update(bench_report.live(load.counts, time.monotonic() - started), refresh=True)
            await asyncio.sleep(0.25)


def _why_none_opened(counts: Counts) -> str:
    reasons = ", ".join(f"{count} times {kind}" for kind, count in counts.errors.most_common())
    return f"no connection could be opened: {reasons}"


def _write(path: Path | None, numbers: dict[str, Any]) -> None:
    if path is not None:
        text = json.dumps(numbers, indent=2, ensure_ascii=False)
        if path == Path("-"):
            click.echo(text)
        else:
            path.write_text(f"{text}\n")


def _payload(_context: click.Context, _parameter: click.Parameter, value: str) -> bytes:
    if not value.startswith("@"):
        return value.encode()
    try:
        data = Path(value[1:]).read_bytes()
        data.decode()
    except OSError as exc:
        raise click.BadParameter(f"{value[1:]}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise click.BadParameter(f"{value[1:]}: a text frame must be UTF-8") from exc
    return data


@click.command("bench")
@click.argument("url", callback=arguments.url)
@click.option(
    "--connections", default=10, show_default=True, type=click.IntRange(min=1), help="Open so many."
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    help="Frames a second over all connections, by a timetable. Without it every connection "
    "sends its next frame when the last is answered. With --find-limit: the first rate.",
)
@click.option(
    "--duration",
    callback=arguments.duration,
    metavar="DURATION",
    help="How long to send: 10s, 5m; with --find-limit each step, 3s.",
)
@click.option(
    "--payload",
    default='{"bench":true}',
    show_default=True,
    callback=_payload,
    metavar="TEXT|@FILE",
    help="What every frame holds.",
)
@click.option(
    "--header",
    "headers",
    multiple=True,
    callback=arguments.headers,
    metavar="'NAME: VALUE'",
    help="A header of the handshake; may be repeated.",
)
@click.option(
    "--patience",
    default="10s",
    show_default=True,
    callback=arguments.duration,
    metavar="DURATION",
    help="How long to wait for answers after the last frame.",
)
@click.option(
    "--find-limit",
    "searching",
    is_flag=True,
    help="Find the rate at which the p99 leaves the floor.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, writable=True, allow_dash=True, path_type=Path),
    metavar="FILE",
    help="Write the numbers there; - is the standard output.",
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE.png",
    help="Draw rate and times, or with --find-limit the knee.",
)
def command(
    *,
    url: str,
    connections: int,
    rate: float | None,
    duration: float | None,
    payload: bytes,
    headers: Headers,
    patience: float,
    searching: bool,
    json_file: Path | None,
    plot: Path | None,
) -> None:
    """Send frames to URL and measure the answers. Every frame is expected to be answered."""
    arguments.raise_file_limit(connections)
    if plot:
        bench_report.check_plotting()
    seconds = duration or (_STEP_DURATION if searching else _DURATION)
    plan = Plan(url, payload, connections, rate, seconds, headers, patience)
    console = Console(stderr=json_file == Path("-"))
    if searching:
        limit = uvloop.run(search_limit(plan, console))
        console.print(bench_report.limit_table(limit))
        console.print(bench_report.verdict(limit))
        _write(json_file, {"url": url, **bench_report.limit_summary(limit)})
        if plot:
            bench_report.plot_limit(plot, url, limit)
        sys.exit(0 if limit.rate else 1)
    counts = uvloop.run(run_load(plan, console))
    if not counts.opened:
        raise click.ClickException(_why_none_opened(counts))
    console.print(bench_report.table(counts.summary()))
    _write(json_file, {"url": url, "rate_wanted": rate, **counts.summary()})
    if plot:
        bench_report.plot_run(plot, url, counts.timeline)
    sys.exit(0 if counts.answered else 1)
