"""The contract of every broker, against a real Redis."""

import asyncio
import secrets
from collections.abc import Iterator

import pytest

from gateway.brokers.redis import RedisBroker
from tests.contracts.broker import BrokerContract
from tests.redisserver import RedisServer, find_redis


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    if find_redis() is None:
        pytest.skip("no redis-server on this machine")
    with RedisServer() as server:
        yield server


class RedisCluster:
    """Workers that meet in one Redis under a prefix of their own."""

    moves_clock = False

    def __init__(self, url: str) -> None:
        self._url = url
        self._prefix = f"{secrets.token_hex(4)}:"

    def broker(self) -> RedisBroker:
        return RedisBroker(self._url, prefix=self._prefix)

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class TestRedisBroker(BrokerContract):
    @pytest.fixture
    def cluster(self, server: RedisServer) -> RedisCluster:
        return RedisCluster(server.unix_url)
