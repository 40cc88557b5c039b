"""What each type of broker can do for a channel, for those who read the configuration only.

The brokers themselves say it in `abilities`; a test holds the two together.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from . import units
from .problems import Path

ABILITIES: Final[dict[str, frozenset[str]]] = {
    "memory": frozenset(
        {"history", "presence", "explicit", "listing", "idempotency", "exact_counts"}
    ),
    "redis": frozenset(
        {"history", "presence", "explicit", "listing", "idempotency", "exact_counts"}
    ),
    "nats": frozenset({"history"}),
}
"""By `broker.type`. The history of `nats` needs a server with JetStream."""


def _on(value: object) -> bool:
    return units.switch(value)


def _keeps(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    size, ttl = value.get("size", 0), value.get("ttl", 0)
    return units.number(0)(size) > 0 and units.duration(ttl) > 0


def _limited(value: object) -> bool:
    return units.or_off(units.number(1))(value) is not None


_ASKS: Final[tuple[tuple[str, Callable[[object], bool], str, str], ...]] = (
    ("create", lambda value: value == "explicit", "explicit", "channels that must be opened"),
    ("max_subscribers", _limited, "exact_counts", "exact count of subscribers"),
    ("history", _keeps, "history", "history"),
    ("presence", _on, "presence", "presence"),
)


def find_unable(data: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """Every key of a channel that asks for more than the broker has."""
    broker, channels = data.get("broker"), data.get("channels")
    kind = broker.get("type", "memory") if isinstance(broker, dict) else "memory"
    able = ABILITIES.get(kind) if isinstance(kind, str) else None
    if able is None or not isinstance(channels, list):
        return
    for index, channel in enumerate(channels):
        for key, asks, ability, noun in _ASKS:
            if not isinstance(channel, dict) or ability in able or channel.get(key) is None:
                continue
            try:
                asked = asks(channel[key])
            except (ValueError, TypeError):
                continue  # its own mistake is told where values are read
            if asked:
                others = " or ".join(name for name, has in ABILITIES.items() if ability in has)
                yield (
                    ("channels", index, key),
                    f"a broker of type {kind} has no {noun}; {others} has",
                )
