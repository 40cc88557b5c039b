"""How long to pause between attempts to reach a server that is away."""

import random
from collections.abc import Callable


class Backoff:
    """Pauses that double up to `longest`, each shortened at random by at most a half.

    The chance keeps many workers from knocking at a returning server at the same moment.
    """

    __slots__ = ("_chance", "_first", "_longest", "_next")

    def __init__(
        self, first: float, longest: float, chance: Callable[[], float] = random.random
    ) -> None:
        self._first, self._longest, self._chance = first, longest, chance
        self._next = first

    def pause(self) -> float:
        """Seconds to wait before the next attempt."""
        pause, self._next = self._next, min(self._next * 2, self._longest)
        return pause * (1.0 - self._chance() / 2)

    def reset(self) -> None:
        """The server was reached: begin with short pauses again."""
        self._next = self._first
