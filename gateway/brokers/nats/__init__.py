"""Channels over NATS, for many machines; see docs/design/brokers.md for what it cannot do."""

from .broker import NatsBroker, Timing

__all__ = ["NatsBroker", "Timing"]
