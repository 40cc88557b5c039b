"""Subscribers that note what they are told, and a service over a broker in this process."""

from collections.abc import AsyncIterator, Callable

import pytest

from gateway.brokers.memory import MemoryBroker
from gateway.channels.broker import ChannelRules, Member
from gateway.channels.policy import ChannelPolicy, Policies
from gateway.channels.publication import Publication
from gateway.channels.service import ChannelService
from gateway.clock import ManualClock


class Subscriber:
    def __init__(self, name: str = "one", user: str = "") -> None:
        self.id = name
        self.user = user
        self.heard: list[bytes] = []
        self.told: list[str] = []
        self.at_delivery: Callable[[], None] = lambda: None

    def deliver(self, publication: Publication) -> None:
        self.heard.append(publication.message.data)
        self.at_delivery()

    def on_join(self, channel: str, member: Member) -> None:
        self.told.append(f"{member.id} joined {channel}")

    def on_leave(self, channel: str, member: Member) -> None:
        self.told.append(f"{member.id} left {channel}")

    def lane(self) -> None: ...

    def on_channel_closed(self, channel: str) -> None:
        self.told.append(f"{channel} closed")

    def on_gap(self, channel: str) -> None:
        self.told.append(f"gap in {channel}")


@pytest.fixture
def subscriber() -> type[Subscriber]:
    return Subscriber


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def service(clock: ManualClock) -> AsyncIterator[ChannelService]:
    """Names tell the rules: `kept.*`, `seen.*` (presence), `shut.*` (explicit), `two.*` (limit)."""
    policies = Policies(
        [
            ChannelPolicy("kept.*", ChannelRules(history_size=3, history_ttl=60)),
            ChannelPolicy("seen.*", ChannelRules(presence=True)),
            ChannelPolicy("shut.*", ChannelRules(explicit=True)),
            ChannelPolicy("two.*", ChannelRules(max_subscribers=2)),
        ]
    )
    service = ChannelService(MemoryBroker(clock=clock.monotonic), policies)
    await service.start()
    yield service
    await service.stop()
