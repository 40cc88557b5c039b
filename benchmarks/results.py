"""What was measured: samples, kept as JSON, and the medians and ratios read out of them."""

import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Sample:
    """One peer's numbers for one case of one measure in one round."""

    measure: str
    peer: str
    case: str
    round: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of the rounds, and the least and greatest of them."""

    median: float
    least: float
    greatest: float
    rounds: int

    @classmethod
    def of(cls, values: list[float]) -> Self:
        return cls(statistics.median(values), min(values), max(values), len(values))

    def text(self, form: Callable[[float], str]) -> str:
        """`form` writes one number; the range stands behind it when it says more."""
        low, middle, high = form(self.least), form(self.median), form(self.greatest)
        return middle if low == high else f"{middle} ({low} - {high})"


@dataclass(slots=True)
class Results:
    """Everything that a report needs, and nothing that it could compute."""

    machine: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    measured: dict[str, dict[str, Any]] = field(default_factory=dict)  # measure: date, rounds ...
    absent: dict[str, str] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> Self:
        """What the file holds; nothing measured when there is none."""
        if not path.exists():
            return cls()
        stored = json.loads(path.read_text())
        samples = [Sample(**sample) for sample in stored.pop("samples")]
        return cls(**stored, samples=samples)

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = {name: value for name, value in asdict(self).items() if name != "samples"}
        text = json.dumps(whole, indent=1)
        # A sample a line: a new run then reads as a small change of the file.
        lines = ",\n".join("  " + json.dumps(_rounded(sample)) for sample in self.samples)
        path.write_text(f'{text[:-2]},\n "samples": [\n{lines}\n ]\n}}\n')

    def forget(self, measure: str) -> None:
        """Drops what an earlier run said about `measure`."""
        self.samples = [sample for sample in self.samples if sample.measure != measure]
        self.failures = [failure for failure in self.failures if failure["measure"] != measure]
        self.measured.pop(measure, None)

    def cases(self, measure: str) -> list[str]:
        return list(dict.fromkeys(s.case for s in self.samples if s.measure == measure))

    def peers(self, measure: str) -> list[str]:
        return list(dict.fromkeys(s.peer for s in self.samples if s.measure == measure))

    def by_round(self, measure: str, peer: str, case: str, value: str) -> dict[int, float]:
        return {
            sample.round: sample.values[value]
            for sample in self.samples
            if (sample.measure, sample.peer, sample.case) == (measure, peer, case)
            and value in sample.values
        }

    def spread(self, measure: str, peer: str, case: str, value: str) -> Spread | None:
        found = self.by_round(measure, peer, case, value)
        return Spread.of(list(found.values())) if found else None

    def ratio(self, measure: str, case: str, value: str, *, of: str, to: str) -> Spread | None:
        """`of` divided by `to`, round by round: both stood under the same weather."""
        above = self.by_round(measure, of, case, value)
        below = self.by_round(measure, to, case, value)
        pairs = [above[number] / below[number] for number in above if below.get(number)]
        return Spread.of(pairs) if pairs else None


def _rounded(sample: Sample) -> dict[str, Any]:
    whole = asdict(sample)
    whole["values"] = {name: float(f"{value:.6g}") for name, value in sample.values.items()}
    return whole
