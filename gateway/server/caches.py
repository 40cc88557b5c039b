"""The stores that the caches of a configuration use; none is connected to before that."""

import importlib
from collections.abc import Iterator
from typing import Any

from gateway.backend.caching import ReplyCache
from gateway.backend.stores import Guarded, Store
from gateway.cache.memory import MemoryStore
from gateway.config.routes import Cache
from gateway.config.services import Stores
from gateway.errors import ConfigurationError
from gateway.metrics import Metrics


class Caches:
    """Made once for a configuration; kept by its successor while `stores` says the same."""

    def __init__(self, settings: Stores, metrics: Metrics) -> None:
        self.settings = settings
        self._metrics = metrics
        self._stores: dict[str, Store | Guarded] = {"memory": MemoryStore()}

    def cache(self, settings: Cache | None, base: bytes) -> ReplyCache | None:
        """What a route or rule keeps; ConfigurationError where a client library is missing."""
        if settings is None:
            return None
        store = self._stores.get(settings.store)
        if store is None:
            store = self._stores[settings.store] = self._open(settings.store)
        return ReplyCache(settings, store, self._metrics, base=base)

    async def close(self) -> None:
        """End the connections. Idempotent."""
        for store in self._remote():
            await store.close()

    def _remote(self) -> Iterator[Guarded]:
        return (store for store in self._stores.values() if isinstance(store, Guarded))

    def _open(self, name: str) -> Guarded:
        # Loaded only where they are used: each needs an optional library.
        module: Any = importlib.import_module(f"gateway.cache.{name}")
        if name == "redis":
            return Guarded(module.RedisStore(self.settings.redis))
        if self.settings.memcached is None:
            raise ConfigurationError("stores has no memcached; say where it is")
        return Guarded(module.MemcachedStore(self.settings.memcached))
