"""`python -m benchmarks`: measures side by side, then tables, plots and a file of numbers."""

import dataclasses
import tempfile
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from benchmarks import machine, measures, peers, plots, report, runner
from benchmarks.measures import Scale
from benchmarks.results import Results

_HERE: Final = Path(__file__).parent
_SCALES: Final = {
    "whole": Scale(rounds=3),
    "quick": Scale(rounds=2, frames=0.25),
    "smoke": Scale(rounds=1, frames=0.01, sockets=0.01),
}


@click.command()
@click.option("--quick", is_flag=True, help="Two rounds of less: an impression in minutes.")
@click.option("--smoke", is_flag=True, help="Tiny counts: shows that the benchmark works.")
@click.option("--rounds", type=int, help="How often every peer has its turn.")
@click.option("--only", multiple=True, type=click.Choice(list(measures.ALL)), help="Measures.")
@click.option("--peers", "names", multiple=True, type=click.Choice(list(peers.ALL)), help="Peers.")
@click.option("--report", "again", is_flag=True, help="Only tables and plots, from stored numbers.")
@click.option("--no-install", is_flag=True, help="Leave out what would have to be installed.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for numbers and plots; by default benchmarks/results, a new one with --smoke.",
)
def main(
    *,
    quick: bool,
    smoke: bool,
    rounds: int | None,
    only: tuple[str, ...],
    names: tuple[str, ...],
    again: bool,
    no_install: bool,
    output: Path | None,
) -> None:
    """Measure wsgate and its alternatives on this machine."""
    scale = _SCALES["smoke" if smoke else "quick" if quick else "whole"]
    if rounds:
        scale = dataclasses.replace(scale, rounds=rounds)
    for_everyone = output is None and not smoke
    folder = output or (
        Path(tempfile.mkdtemp(prefix="wsgate-smoke-")) if smoke else _HERE / "results"
    )
    console = Console()
    if not console.is_terminal:
        console = Console(width=200, soft_wrap=True)
    numbers = folder / "results.json"
    results = Results.load(numbers)
    if not again:
        results.machine = machine.describe()
        chosen = [measures.ALL[name] for name in only or measures.ALL]
        wanted = [n for n in names or peers.ALL if any(n in measure.peers for measure in chosen)]
        candidates = runner.available(wanted, results, console, may_install=not no_install)
        turns = runner.Runner(scale, results, console)
        for measure in chosen:
            turns.run(measure, candidates)
            results.save(numbers)
    documents = [_HERE.parent / "README.md", _HERE.parent / "docs" / "benchmarks.md"]
    report.write(results, folder, documents if for_everyone else [])
    plots.draw(results, folder)
    report.show(results, console)
    console.print(f"numbers, report and plots: {folder}")


if __name__ == "__main__":
    main()
