"""What every measure is given, and what it gives back."""

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from benchmarks import processes
from benchmarks.load import Generator
from benchmarks.peers import Peer, Running, Site
from benchmarks.php import PhpFpm

Values = Mapping[str, float]
Case = tuple[str, Values]


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything: whole for numbers, little to see that the benchmark works."""

    rounds: int
    frames: float = 1.0
    sockets: float = 1.0

    def count(self, frames: int, least: int = 50) -> int:
        return max(least, int(frames * self.frames))

    def crowd(self, sockets: int) -> int:
        """A number of sockets; small crowds stay as they are."""
        return sockets if sockets <= 10 else max(10, int(sockets * self.sockets))


class Bench:
    """The surroundings of one turn: php-fpm, a load generator, and how much to do."""

    def __init__(self, php: PhpFpm, generator: Generator, scale: Scale) -> None:
        self.php = php
        self.generator = generator
        self.scale = scale

    def site(self, workers: int = 1) -> Site:
        return Site(self.php, workers)

    @contextlib.contextmanager
    def running(self, peer: Peer, workers: int = 1, *, warm: bool = True) -> Iterator[Running]:
        """The peer, freshly started; warmed by frames on sockets that are closed again."""
        running = peer.start(self.site(workers))
        try:
            if warm:
                self.generator.open(f"{running.url}/echo", 16)
                self.generator.frames(self.scale.count(12_000))
                self.generator.close()
            yield running
        finally:
            self.generator.close()
            self.generator.leave()
            running.stop()


class Meter:
    """CPU of a peer's processes over a piece of work."""

    def __init__(self, running: Running) -> None:
        self._pids = running.pids
        self._started = processes.cpu(self._pids)

    def per(self, pieces: float) -> dict[str, float]:
        """Microseconds for each of `pieces` since the meter was made."""
        used = processes.cpu(self._pids).since(self._started)
        each = 1e6 / max(1.0, pieces)
        return {
            "cpu_us": used.total * each,
            "cpu_user_us": used.user * each,
            "cpu_system_us": used.system * each,
        }


class Measure(ABC):
    """One question. Peers answer it one after the other, round after round."""

    name: ClassVar[str]
    title: ClassVar[str]
    peers: ClassVar[tuple[str, ...]]
    children: ClassVar[int] = 8  # of php-fpm

    @abstractmethod
    def take(self, bench: Bench, peer: Peer) -> Iterator[Case]:
        """The cases of one round: a label and its numbers."""


def numbers(answer: Mapping[str, object]) -> dict[str, float]:
    """The plain numbers of a generator's answer; its errors as one sum."""
    values = {
        name: float(value)
        for name, value in answer.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    errors = answer.get("errors")
    if isinstance(errors, dict):
        values["errors"] = float(sum(errors.values()))
    return values


def settled_memory(running: Running) -> float:
    """Own memory once two readings in a row agree to a thousandth, or after five seconds."""
    before = processes.memory(running.pids)
    for _ in range(10):
        time.sleep(0.5)
        now = processes.memory(running.pids)
        if abs(now - before) <= before / 1000:
            return float(now)
        before = now
    return float(before)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares through (x, y)."""
    n = len(points)
    mean_x = sum(x for x, _ in points) / n
    mean_y = sum(y for _, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
