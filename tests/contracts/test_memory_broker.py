import pytest

from gateway.brokers.memory import MemoryBroker, MemoryExchange
from gateway.clock import ManualClock
from tests.contracts.broker import BrokerContract


class MemoryCluster:
    """Workers that share the books of one exchange, and a clock that stands."""

    moves_clock = True

    def __init__(self) -> None:
        self._clock = ManualClock()
        self._exchange = MemoryExchange()

    def broker(self) -> MemoryBroker:
        return MemoryBroker(exchange=self._exchange, clock=self._clock.monotonic)

    async def pass_time(self, seconds: float) -> None:
        self._clock.advance(seconds)


class TestMemoryBroker(BrokerContract):
    @pytest.fixture
    def cluster(self) -> MemoryCluster:
        return MemoryCluster()
