"""The end of a WebSocket as a state machine (RFC 6455 section 7)."""

from enum import Enum, auto
from typing import Final


class State(Enum):
    """How far the closing has come."""

    OPEN = auto()
    CLOSING = auto()
    """We have ended it and wait for the client's close frame, or for the socket to go."""
    CLOSED = auto()
    """The listener knows the end; what still comes in is thrown away."""

    # As members are compared; Enum's own hash is a call in Python at each look into the table.
    __hash__ = object.__hash__


# Looked up for every frame: a global costs a fraction of an enum's attribute.
OPEN: Final = State.OPEN
CLOSED: Final = State.CLOSED


class Signal(Enum):
    """What moves it on."""

    WE_END = auto()
    PEER_CLOSES = auto()
    BREAKS = auto()

    __hash__ = object.__hash__


NEXT: Final = {
    (State.OPEN, Signal.WE_END): State.CLOSING,
    (State.OPEN, Signal.PEER_CLOSES): State.CLOSED,
    (State.OPEN, Signal.BREAKS): State.CLOSED,
    (State.CLOSING, Signal.PEER_CLOSES): State.CLOSED,
    (State.CLOSING, Signal.BREAKS): State.CLOSED,
}
