"""When a dead worker is replaced: at once, and later and later when it keeps dying.

Without I/O; the chance that spreads the attempts is handed in.
"""

import random
from collections.abc import Callable
from typing import Final

HEALTHY: Final = 10.0
"""Who has lived so long did not die of its start."""
_FIRST: Final = 0.2
_LONGEST: Final = 30.0


class Restarts:
    """The deaths of one place among the workers."""

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self.in_a_row = 0
        self._chance = chance

    @property
    def crash_loop(self) -> bool:
        """Whether it dies again and again before it has lived."""
        return self.in_a_row > 1

    def died(self, lived: float) -> float:
        """Note a death; how many seconds to wait before the replacement."""
        self.in_a_row = 1 if lived >= HEALTHY else self.in_a_row + 1
        if self.in_a_row == 1:
            return 0.0
        pause: float = min(_FIRST * 2 ** min(self.in_a_row - 2, 20), _LONGEST)
        return pause * (0.5 + self._chance())

    def lives(self, lived: float) -> None:
        """It is alive after so long; what was before is forgiven."""
        if lived >= HEALTHY:
            self.in_a_row = 0
