"""What all sessions of a worker share, so that none has to carry it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.channels.service import ChannelService
from gateway.clock import Clock
from gateway.metrics import Metrics
from gateway.tasks import TaskSet

from .directory import Directory
from .farewell import Farewell
from .keepalive import Keepalive


@dataclass(slots=True)
class Services:
    """Made once per worker, inside its event loop.

    `push_base` is the address of the internal listener as PHP reaches it, without a slash at the
    end. `show_details` adds what went wrong to error frames (log level debug only).
    """

    clock: Clock
    channels: ChannelService
    metrics: Metrics
    farewell: Farewell
    push_base: str = ""
    show_details: bool = False
    tasks: TaskSet = field(default_factory=TaskSet)
    leaving: TaskSet = field(default_factory=TaskSet)
    """Those whose client has gone, on their way out of the channels."""
    directory: Directory = field(default_factory=Directory)
    keepalive: Keepalive = field(default_factory=Keepalive)
    now: Callable[[], float] = field(init=False)

    def __post_init__(self) -> None:
        self.now = self.clock.monotonic
        self.metrics.connections.labelled().read = lambda: len(self.directory)

    def push_url(self, connection_id: str) -> str:
        """Where a connection can be reached over HTTP."""
        return f"{self.push_base}/connections/{connection_id}"
