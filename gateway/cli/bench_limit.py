"""Where the knee is: the greatest rate at which the times still look like those without load.

The floor is the p99 at the lowest rate. A rate is too much when its p99 leaves the floor, when
frames fail, or when answers do not keep up, and that twice in a row. Rates double until one is too
much; the knee is then narrowed down between the last good rate and the first bad one. Nothing
here sends anything.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

_LEAVES: Final = 3.0  # times the floor
_SLACK: Final = 0.005  # seconds above the floor that are never yet a knee
_KEEPS_UP: Final = 0.95
_NARROWINGS: Final = 4
_MOST: Final = 1_000_000.0


@dataclass(frozen=True, slots=True)
class Step:
    """What one rate gave: answers a second, p99 and the sender's own lateness in seconds."""

    rate: float
    answered: float
    p99: float
    errors: int
    late: float = 0.0

    @property
    def sender_bound(self) -> bool:
        """The load could not be made: most of the time passed before the frames left."""
        return self.late > self.p99 / 2 and self.late > _SLACK / 2


@dataclass(frozen=True, slots=True)
class Limit:
    """The knee: the greatest good rate, the floor, and the steps that counted, in their order."""

    rate: float
    floor: float
    steps: tuple[Step, ...]
    sender_bound: bool


async def find_limit(measure: Callable[[float], Awaitable[Step]], *, start: float) -> Limit:
    """Calls `measure` with one rate after the other, `start` first; 0 if even that is too much."""
    first = await measure(start)
    floor = first.p99
    if not _good(first, floor):
        return Limit(0.0, floor, (first,), first.sender_bound)
    steps = [first]

    async def attempt(rate: float) -> bool:
        step = await measure(rate)
        if not _good(step, floor):
            # Others use the machine too: what is too much is too much twice.
            step = await measure(rate)
        steps.append(step)
        return _good(step, floor)

    good, rate = start, start * 2
    while rate <= _MOST and await attempt(rate):
        floor = min(floor, steps[-1].p99)
        good, rate = rate, rate * 2
    if rate > _MOST:
        return Limit(good, floor, tuple(steps), sender_bound=False)
    bad = steps[-1]
    for _ in range(_NARROWINGS):
        rate = (good * bad.rate) ** 0.5
        if await attempt(rate):
            good = rate
        else:
            bad = steps[-1]
    return Limit(good, floor, tuple(steps), bad.sender_bound)


def _good(step: Step, floor: float) -> bool:
    return (
        step.errors == 0
        and step.answered >= step.rate * _KEEPS_UP
        and step.p99 <= max(floor * _LEAVES, floor + _SLACK)
    )
