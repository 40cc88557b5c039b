"""From the configuration to a broker. A client library is imported only where it is needed."""

from gateway.channels.broker import Broker
from gateway.config.services import Broker as Settings

from .memory import MemoryBroker


def make_broker(settings: Settings, *, node: str | None = None) -> Broker:
    """The broker the configuration asks for, not started.

    Made where the event loop runs. ConfigurationError when its address cannot be used, or its
    library is missing: then the message names what to install.
    """
    if settings.type == "redis":
        from .redis import RedisBroker  # noqa: PLC0415 - an optional library

        return RedisBroker(settings.url, prefix=settings.prefix, node=node)
    if settings.type == "nats":
        from .nats import NatsBroker  # noqa: PLC0415 - an optional library

        return NatsBroker(settings.url, prefix=settings.prefix, node=node)
    return MemoryBroker(node)
