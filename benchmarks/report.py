"""The report: a table in the terminal, Markdown for the documents, between markers."""

from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks import peers
from benchmarks.results import Results
from benchmarks.tables import markdown, share_of_limit, table, target_table

BEGIN: Final = "<!-- benchmarks: begin -->"
END: Final = "<!-- benchmarks: end -->"


def show(results: Results, console: Console) -> None:
    console.print(_provenance(results))
    for title, lines in (
        ("Numbers: median (least - greatest)", table(results, short=False, spread=True)),
        ("Share of the limit", share_of_limit(results)),
        ("Targets", target_table(results)),
    ):
        if len(lines) < 2:
            continue
        shown = Table(title=title, title_justify="left")
        for number, heading in enumerate(lines[0]):
            shown.add_column(heading, justify="right" if number else "left")
        for cells in lines[1:]:
            shown.add_row(*(cell.replace("**missed**", "[bold red]missed[/]") for cell in cells))
        console.print(shown)
    for line in _not_measured(results):
        console.print(line)


def write(results: Results, folder: Path, documents: list[Path]) -> None:
    """The whole report beside the numbers; the short one into documents that have the markers."""
    whole = "\n".join(
        [
            "# Measured\n",
            _provenance(results) + "\n",
            "Medians, with the least and the greatest round in brackets.\n",
            markdown(table(results, short=False, spread=True)),
            markdown(share_of_limit(results)),
            markdown(target_table(results)),
            *(line + "\n" for line in _not_measured(results)),
        ]
    )
    (folder / "report.md").write_text(whole)
    short = "\n".join(
        [
            _provenance(results) + "\n",
            markdown(table(results, short=True, spread=False)),
            markdown(target_table(results)),
        ]
    )
    for document in documents:
        _insert(document, short)


def _insert(document: Path, text: str) -> None:
    if not document.exists():
        return
    before, begin, rest = document.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if begin and end:
        document.write_text(f"{before}{BEGIN}\n{text}{END}{after}")


def _provenance(results: Results) -> str:
    machine = results.machine
    dates = sorted({str(run["date"]) for run in results.measured.values()})
    rounds = sorted({int(run["rounds"]) for run in results.measured.values()})
    load = max((float(run["load"]) for run in results.measured.values()), default=0.0)
    others = f"; up to {load:.1f} processes wanted a core when a measure began" if load > 1 else ""
    least = min((float(run["frames"]) for run in results.measured.values()), default=1.0)
    quick = f" of a quick run ({least:.0%} of the frames)" if least < 1 else ""
    versions = ", ".join(f"{peers.ALL[name].title}: {v}" for name, v in results.versions.items())
    return (
        f"{machine.get('processor')}, {machine.get('cores')} cores, {machine.get('memory')}, "
        f"{machine.get('kernel')}, {machine.get('distribution')}; {' and '.join(dates)}; "
        f"{'-'.join(map(str, rounds))} rounds in turn{quick}{others}. {versions}."
    )


def _not_measured(results: Results) -> list[str]:
    lines = [f"{peers.ALL[name].title} not measured: {why}" for name, why in results.absent.items()]
    lines.extend(
        f"{peers.ALL[f['peer']].title} failed at {f['measure']}, round {f['round']}: {f['why']}"
        for f in results.failures
    )
    return lines
