"""Where kept replies are: in this process, or elsewhere behind deadlines.

What comes from elsewhere is taken only if it could have been kept: a plain success that means the
same to whoever gets it.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

import msgspec
import structlog

from fastcgi import Response
from gateway.errors import GatewayError
from gateway.logs import Throttle
from gateway.tasks import TaskSet

from . import effects
from .reply import head_of, media_type

log: Final = structlog.get_logger()

_DEADLINE: Final = 0.25
_REST: Final = 1.0
"""Seconds for which a store that failed is not asked again."""


class Store(Protocol):
    """Replies kept in this process; nothing here waits."""

    def get(self, key: bytes) -> Response | None:
        """The reply, while it is good."""

    def put(self, key: bytes, response: Response, ttl: float) -> None:
        """Keep a reply for so long, at most."""


class RemoteStore(Protocol):
    """Bytes kept elsewhere, shared by whoever uses the same server. Any error is a miss."""

    async def get(self, key: bytes) -> bytes | None:
        """What is kept."""

    async def put(self, key: bytes, value: bytes, ttl: float) -> None:
        """Keep it for so long, at least, or as long as the server likes."""

    async def close(self) -> None:
        """End the connections."""


class Guarded:
    """A remote store with deadlines; one that fails is left alone for a moment."""

    def __init__(self, store: RemoteStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._until = 0.0
        self._failures = Throttle()
        self.tasks = TaskSet()

    @property
    def rests(self) -> bool:
        """Whether it failed just now, so that it is not asked."""
        return self._clock() < self._until

    async def get(self, key: bytes) -> bytes | None:
        """What is kept; None also when the store is away."""
        try:
            async with asyncio.timeout(_DEADLINE):
                return await self._store.get(key)
        except Exception as exc:  # noqa: BLE001 - whatever a store does, it is a miss
            self._failed(exc)
            return None

    def keep(self, key: bytes, value: bytes, ttl: float) -> None:
        """Keep it, beside the caller; it may be lost."""
        if not self.rests:
            self.tasks.spawn(self._put(key, value, ttl), name="keep in a cache")

    async def close(self) -> None:
        """End the connections. Idempotent."""
        await self.tasks.join(_DEADLINE)
        await self.tasks.close()
        await self._store.close()

    async def _put(self, key: bytes, value: bytes, ttl: float) -> None:
        try:
            async with asyncio.timeout(_DEADLINE):
                await self._store.put(key, value, ttl)
        except Exception as exc:  # noqa: BLE001 - as above
            self._failed(exc)

    def _failed(self, error: Exception) -> None:
        self._until = self._clock() + _REST
        if self._failures.allows():
            log.warning("cache is away", kind=type(error).__name__, **self._failures.taken())


def is_for_anybody(response: Response) -> bool:
    """Whether the answer means the same to whoever gets it."""
    try:
        head = head_of(response)
    except GatewayError:
        return False
    return not (head.cookies or head.before or head.after or head.publish) and (
        media_type(head.content_type) != effects.EFFECTS_TYPE
    )


class _Kept(msgspec.Struct, array_like=True):
    until: float
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


_unpacked: Final = msgspec.msgpack.Decoder(_Kept).decode


def pack(response: Response, until: float) -> bytes:
    """The reply as another process can keep it; good until that moment of Unix time."""
    kept = _Kept(until, response.status, response.headers, response.body)
    return msgspec.msgpack.encode(kept)


def unpack(value: bytes | None, now: float) -> Response | None:
    """What is kept, if it is one of ours and still good; nothing that others wrote is trusted."""
    if value is None:
        return None
    try:
        kept = _unpacked(value)
        response = Response(kept.status, kept.headers, kept.body)
        usable = now < kept.until and head_of(response).plain and is_for_anybody(response)
    except (msgspec.MsgspecError, GatewayError, UnicodeError, RecursionError):
        return None
    return response if usable else None
