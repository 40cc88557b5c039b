"""Runs measures: round after round, in every round one peer after the other."""

import datetime as dt
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import machine, peers
from benchmarks.load import Generator, GeneratorError
from benchmarks.measures import Bench, Measure, Scale
from benchmarks.peers import Peer
from benchmarks.php import PhpFpm
from benchmarks.processes import StartError
from benchmarks.results import Results, Sample


def available(
    names: Sequence[str], results: Results, console: Console, *, may_install: bool
) -> list[Peer]:
    """The peers that can run here; the others are noted with the reason."""
    found = []
    for name in names:
        peer = peers.ALL[name]
        console.print(f"[dim]looking for {peer.title}[/]")
        reason = peer.missing(may_install=may_install)
        results.absent.pop(name, None)
        if reason is None:
            found.append(peer)
            results.versions[name] = peer.version()
        else:
            console.print(f"[yellow]{peer.title} cannot run here[/]: {reason}")
            results.absent[name] = reason
    return found


class Runner:
    """Takes measures into `results`, and says so on the console."""

    def __init__(self, scale: Scale, results: Results, console: Console) -> None:
        self._scale = scale
        self._results = results
        self._console = console

    def run(self, measure: Measure, candidates: Sequence[Peer]) -> None:
        """Replaces what the results say about this measure."""
        taking_part = [peer for peer in candidates if peer.name in measure.peers]
        if not taking_part:
            return
        self._results.forget(measure.name)
        self._results.measured[measure.name] = {
            "date": dt.datetime.now(dt.UTC).date().isoformat(),
            "rounds": self._scale.rounds,
            "frames": self._scale.frames,
            "sockets": self._scale.sockets,
            "load": round(machine.load_average(), 2),
        }
        self._console.rule(measure.title, align="left")
        with tempfile.TemporaryDirectory(prefix="wsgate-benchmark-") as folder:
            php = PhpFpm(Path(folder), measure.children)
            try:
                for number in range(1, self._scale.rounds + 1):
                    for peer in taking_part:
                        self._take(measure, peer, number, php)
            finally:
                php.stop()

    def _take(self, measure: Measure, peer: Peer, number: int, php: PhpFpm) -> None:
        """One peer, one round, with a load generator of its own."""
        try:
            with Generator() as generator:
                bench = Bench(php, generator, self._scale)
                for case, values in measure.take(bench, peer):
                    sample = Sample(measure.name, peer.name, case, number, values)
                    self._results.samples.append(sample)
                    self._show(sample)
        except (GeneratorError, StartError, OSError) as exc:
            self._console.print(f"{peer.title} failed: {exc}", style="red", markup=False)
            self._results.failures.append(
                {
                    "measure": measure.name,
                    "peer": peer.name,
                    "round": str(number),
                    "why": str(exc).partition("\n")[0],
                }
            )

    def _show(self, sample: Sample) -> None:
        shown = "  ".join(f"{name} {value:,.4g}" for name, value in sample.values.items())
        self._console.print(
            f"{sample.round} {peers.ALL[sample.peer].title}, {sample.case}: {shown}",
            highlight=False,
        )
