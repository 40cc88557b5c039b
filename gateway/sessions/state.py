"""The life of a session, as a table."""

from enum import Enum, auto
from typing import Final


class State(Enum):
    """How far a session has come."""

    JOINING = auto()
    """PHP or the channels are being asked; there is no client yet."""
    OPEN = auto()
    CLOSING = auto()
    """We have said goodbye; nothing more is accepted or sent."""
    ENDED = auto()
    """The client is gone; what it had sent is still being executed."""
    OVER = auto()

    # As members are compared; Enum's own hash is a call in Python at each look into a table.
    __hash__ = object.__hash__


# Looked up for every frame: a global costs a fraction of an enum's attribute.
JOINING: Final = State.JOINING
OPEN: Final = State.OPEN
ENDED: Final = State.ENDED

NEXT: Final = {
    State.JOINING: {State.OPEN, State.OVER},
    State.OPEN: {State.CLOSING, State.ENDED},
    State.CLOSING: {State.ENDED},
    State.ENDED: {State.OVER},
    State.OVER: set[State](),
}
"""Which state may follow which; everything else is a mistake of ours."""
