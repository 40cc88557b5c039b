"""The questions that are asked of every peer."""

from typing import Final

from .aging import Aging
from .base import Bench, Measure, Scale
from .burst import Burst
from .connections import Connections
from .echo import Echo
from .fanout import FanOut, FanOutOfWorkers
from .growth import Growth
from .handshakes import Handshakes
from .hub import Hub
from .idle import IdleChildren
from .memory import Idle, Subscribed
from .sizes import Sizes
from .workers import Workers

ALL: Final[dict[str, Measure]] = {
    measure.name: measure
    for measure in (
        Echo(),
        Aging(),
        Growth(),
        Burst(),
        IdleChildren(),
        Idle(),
        Subscribed(),
        FanOut(),
        Handshakes(),
        Sizes(),
        Connections(),
        Workers(),
        FanOutOfWorkers(),
        Hub(),
    )
}

__all__ = ["ALL", "Bench", "Measure", "Scale"]
