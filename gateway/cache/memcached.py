"""Replies in memcached: the one module that knows aiomcache."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator
from typing import Any, Final

from gateway.config.units import Listen
from gateway.errors import ConfigurationError

try:
    import aiomcache
except ImportError as exc:  # pragma: no cover - an installation without the extra
    raise ConfigurationError("memcached needs the extra: pip install 'wsgate[memcached]'") from exc

_PREFIX: Final = b"wsgate:cache:"
_CONNECTIONS: Final = 4
_MONTH: Final = 30 * 24 * 3600
"""Seconds; memcached takes a larger expiry for a moment of Unix time."""


class _Client(aiomcache.Client):
    """The library's, but it notices that memcached has hung up.

    The library reads lines until one is whole. At the end of the stream each is empty and comes
    at once, so that its loop never ends and never waits: the whole process would stand still.
    """

    async def _execute_simple_command(self, conn: Any, raw_command: bytes) -> bytes:
        conn.writer.write(raw_command)
        await conn.writer.drain()
        line: bytes = await conn.reader.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("memcached hung up in its answer")
        return line[:-2]


class MemcachedStore:
    """Fulfils `backend.stores.RemoteStore`."""

    def __init__(self, address: Listen) -> None:
        if address.is_unix:
            raise ConfigurationError("stores.memcached: expected host:port, memcached's TCP port")
        self._address = (address.host or "127.0.0.1", address.port)
        # Each has one connection and one user at a time, so that it can be closed as a whole.
        self._idle: list[Any] = []
        self._turns = asyncio.Semaphore(_CONNECTIONS)

    async def get(self, key: bytes) -> bytes | None:
        """What is kept; errors as they come."""
        async with self._client() as client:
            found: bytes | None = await client.get(_name(key))
        return found

    async def put(self, key: bytes, value: bytes, ttl: float) -> None:
        """Keep it; memcached counts whole seconds."""
        async with self._client() as client:
            await client.set(_name(key), value, exptime=min(math.ceil(ttl), _MONTH))

    async def close(self) -> None:
        """End the connections."""
        while self._idle:
            await self._idle.pop().close()

    @contextlib.asynccontextmanager
    async def _client(self) -> AsyncIterator[Any]:
        async with self._turns:
            host, port = self._address
            client = self._idle.pop() if self._idle else _Client(host, port, pool_size=1)
            try:
                yield client
            except BaseException:
                # The library would use the connection again, with an answer half read, or with
                # one that is yet to come: then the next question would get it.
                await client.close()
                # Those that are idle may have met the same end.
                await self.close()
                raise
            self._idle.append(client)


def _name(key: bytes) -> bytes:
    return _PREFIX + key.hex().encode()
