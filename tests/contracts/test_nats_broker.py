"""The contract of every broker, against a real NATS server with and without JetStream."""

import asyncio
import secrets
from collections.abc import Iterator

import pytest

from gateway.brokers.nats import NatsBroker
from tests.contracts.broker import BrokerContract
from tests.natsserver import NatsServer, find_nats


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    if find_nats() is None:
        pytest.skip("no nats-server on this machine")
    with NatsServer() as server:
        yield server


@pytest.fixture(scope="module")
def bare_server() -> Iterator[NatsServer]:
    if find_nats() is None:
        pytest.skip("no nats-server on this machine")
    with NatsServer(jetstream=False) as server:
        yield server


class NatsCluster:
    """Workers that meet in one server under a prefix of their own."""

    moves_clock = False

    def __init__(self, url: str) -> None:
        self._url = url
        self._prefix = secrets.token_hex(4)

    def broker(self) -> NatsBroker:
        return NatsBroker(self._url, prefix=self._prefix)

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class TestNatsBroker(BrokerContract):
    @pytest.fixture
    def cluster(self, server: NatsServer) -> NatsCluster:
        return NatsCluster(server.url)


class TestNatsBrokerWithoutJetStream(BrokerContract):
    @pytest.fixture
    def cluster(self, bare_server: NatsServer) -> NatsCluster:
        return NatsCluster(bare_server.url)
