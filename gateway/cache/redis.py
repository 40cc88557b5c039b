"""Replies in Redis."""

import asyncio
from typing import Final

from gateway.remote.redis import open_server
from gateway.remote.redis_commands import Commands

_PREFIX: Final = b"wsgate:cache:"
_DEADLINE: Final = 0.5


class RedisStore:
    """Fulfils `backend.stores.RemoteStore`; connects when it is first used."""

    def __init__(self, url: str) -> None:
        self._up = asyncio.Event()
        self._commands = Commands(open_server(url).link, on_up=self._up.set, deadline=_DEADLINE)
        self._started = False

    async def get(self, key: bytes) -> bytes | None:
        """What is kept; errors as they come."""
        await self._begin()
        found: bytes | None = await self._commands.call("GET", _PREFIX + key.hex().encode())
        return found

    async def put(self, key: bytes, value: bytes, ttl: float) -> None:
        """Keep it."""
        await self._begin()
        name = _PREFIX + key.hex().encode()
        await self._commands.call("SET", name, value, "PX", max(int(ttl * 1000), 1))

    async def close(self) -> None:
        """End the connection."""
        await self._commands.stop()

    async def _begin(self) -> None:
        """The first question waits for the connection, as long as whoever asks has patience."""
        if not self._started:
            self._started = True
            self._commands.start()
            await self._up.wait()
