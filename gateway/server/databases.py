"""The databases of the configuration, ready to be asked; none is connected to before that."""

import importlib
from typing import Any

from gateway.backend.queries import Databases
from gateway.config.model import Config


def open_databases(config: Config) -> Databases:
    """By name. ConfigurationError where the client library is missing or an address is none."""
    if not config.databases:
        return Databases({})
    # Loaded only where it is used: it needs an optional library.
    postgres: Any = importlib.import_module("gateway.remote.postgres")
    return Databases(
        {
            name: postgres.Database(
                settings.dsn,
                max_connections=settings.max_connections,
                timeout=settings.timeout,
                # An address of its own for LISTEN says that the other one leads to PgBouncer.
                bouncer=bool(settings.listen_dsn),
            )
            for name, settings in config.databases.items()
        }
    )
