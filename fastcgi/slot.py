"""One connection's entry in the books of a pool: its state, and which may follow which."""

from enum import IntEnum
from typing import Final

from .endpoint import Endpoint


class State(IntEnum):
    """Where a connection stands in its life."""

    CONNECTING = 0
    IDLE = 1
    BUSY = 2
    # The answer is complete, but the application has not come back to read the next request.
    SETTLING = 3
    # Nobody waits for the answer any more, but the script may still be running.
    DRAINING = 4
    CLOSED = 5


NEXT: Final = frozenset(
    {
        (State.CONNECTING, State.IDLE),
        (State.IDLE, State.BUSY),
        (State.IDLE, State.CLOSED),
        (State.BUSY, State.SETTLING),
        (State.BUSY, State.IDLE),
        (State.BUSY, State.DRAINING),
        (State.BUSY, State.CLOSED),
        (State.SETTLING, State.IDLE),
        (State.SETTLING, State.CLOSED),
        (State.DRAINING, State.CLOSED),
    }
)


class Slot:
    """One connection's entry: its address, its state, and since when it has had it."""

    __slots__ = ("endpoint", "since", "state")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.state = State.CONNECTING
        self.since = 0.0
