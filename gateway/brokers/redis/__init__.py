"""Channels in Redis, for many machines; see docs/design/brokers.md."""

from .broker import RedisBroker, Timing

__all__ = ["RedisBroker", "Timing"]
