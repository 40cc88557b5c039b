"""What all public connections of a worker share, so that none has to carry it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.clock import Clock

from .budget import MessageBudget
from .inbox import Inbox
from .sweep import Sweep, Waiting


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds."""

    handshake: float = 10.0
    """From accept to a complete head."""
    close: float = 5.0
    """From our close frame, or our last byte, to the end of the socket."""
    message: float = 30.0
    """From a message's first byte to its last."""


@dataclass(slots=True)
class Commons:
    """Made once per worker, inside its event loop."""

    clock: Clock
    leave: Callable[[str], None]
    """Told the address of every connection that was counted in and has ended."""
    timing: Timing = Timing()
    budget: MessageBudget = field(default_factory=MessageBudget)
    sweep: Sweep = field(init=False)
    inbox: Inbox = field(init=False)
    heads: Waiting = field(init=False)
    messages: Waiting = field(init=False)
    closing: Waiting = field(init=False)

    def __post_init__(self) -> None:
        self.sweep = Sweep(self.clock)
        self.inbox = Inbox(asyncio.get_running_loop())
        self.heads = self.sweep.waiting(self.timing.handshake)
        self.messages = self.sweep.waiting(self.timing.message)
        self.closing = self.sweep.waiting(self.timing.close)
