"""What a worker tells of itself and, where it can ask the others, of the whole gateway.

The numbers of `/metrics` and the facts of `/status`. The others are asked with a deadline, so a
worker that is silent delays nobody for long.
"""

import time
from collections.abc import Iterable
from importlib.metadata import version
from typing import Final

from gateway.backend.upstreams import Upstream
from gateway.brokers.hub_broker import HubBroker
from gateway.brokers.memory import MemoryBroker
from gateway.channels.broker import Broker
from gateway.channels.service import ChannelService
from gateway.metrics import Metrics, Snapshot

from .company import Company

VERSION: Final = version("wsgate")


class Accounts:
    """One a worker; `company` is how the others are asked, None where there are none."""

    def __init__(self, metrics: Metrics, broker: Broker, company: Company | None) -> None:
        self._metrics = metrics
        self._broker = broker
        self._company = company
        self._started_at = time.monotonic()

    def watch(self, channels: ChannelService, upstreams: Iterable[Upstream]) -> None:
        """Read what channels and pools count at every scrape; call again after a reload."""
        metrics = self._metrics
        metrics.watch_channels(channels)
        metrics.channels.labelled().read = lambda: self._count_channels(channels)
        metrics.subscriptions.labelled().read = lambda: channels.subscriptions
        for upstream in upstreams:
            metrics.watch_pool(upstream.name, upstream.pool.statistics)

    async def numbers(self) -> Snapshot:
        """Those of the whole gateway; this worker's own while the others cannot be asked."""
        gathered = None if self._company is None else await self._company.gathered()
        numbers: Snapshot = self._metrics.export() if gathered is None else gathered["numbers"]
        return numbers

    async def status(self, *, ready: bool, routes: list[str], broker: str) -> dict[str, object]:
        """The facts that are no metrics."""
        gathered = None if self._company is None else await self._company.gathered()
        names = ("workers", "processes", "uptime")
        whole = {} if gathered is None else {name: gathered[name] for name in names}
        return {
            "version": VERSION,
            "uptime": round(time.monotonic() - self._started_at),
            "workers": 1,
            "ready": ready,
            "routes": routes,
            "broker": broker,
            **whole,
        }

    def _count_channels(self, channels: ChannelService) -> int:
        """All that exist, where this process alone can know it."""
        if isinstance(self._broker, MemoryBroker):
            return self._broker.channels
        if isinstance(self._broker, HubBroker):
            return 0  # counted once, by the hub
        return channels.channels
