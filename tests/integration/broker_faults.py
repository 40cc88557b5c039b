"""What must hold of any broker whose server fails; each broker's tests add what is its own."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from gateway.channels.broker import Broker
from gateway.channels.policy import Policies
from gateway.channels.publication import Message, Position
from gateway.channels.publishing import Source
from gateway.channels.service import ChannelService
from gateway.errors import BrokerUnavailableError
from tests.contracts.broker import Listener, eventually


@asynccontextmanager
async def served(broker: Broker, policies: Policies) -> AsyncIterator[ChannelService]:
    """The channels of one worker."""
    service = ChannelService(broker, policies)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


async def up(*services: ChannelService) -> None:
    """Wait until all of them are ready."""
    await eventually(lambda: all(service.ready for service in services))


async def joined(service: ChannelService, channel: str) -> Listener:
    """A new subscriber."""
    listener = Listener(service.node)
    await service.join(listener, channel)
    return listener


async def publish(service: ChannelService, channel: str, data: bytes) -> Position:
    """Publish, and answer where it stands."""
    receipt = await service.publish(channel, Message(data), source=Source.API)
    return receipt.position


class Load:
    """Publishes numbers to channels side by side, one after the other in each."""

    def __init__(self, service: ChannelService, channels: list[str]) -> None:
        self.acknowledged: dict[str, list[bytes]] = {channel: [] for channel in channels}
        self._service = service
        self._stop = asyncio.Event()
        self._tasks = [asyncio.create_task(self._run(channel)) for channel in channels]

    async def goes_on(self) -> None:
        """Wait until twenty more are acknowledged in each channel."""
        for sent in self.acknowledged.values():
            await eventually(partial(_is_longer, sent, len(sent) + 20))

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def _run(self, channel: str) -> None:
        n = 0
        while not self._stop.is_set():
            n += 1
            data = b"%d" % n
            try:
                await publish(self._service, channel, data)
            except BrokerUnavailableError:
                await asyncio.sleep(0.01)
                continue
            self.acknowledged[channel].append(data)
            await asyncio.sleep(0.002)


def _is_longer(items: list[bytes], count: int) -> bool:
    return len(items) > count


class BrokerFaults(ABC):
    """The suite. `server` and `durable` are fixtures; what the latter acknowledged it keeps."""

    @abstractmethod
    def serving(self, server: Any) -> Any:
        """A context manager with the channels of a worker; `kept.*` keeps a history."""

    async def test_away_at_the_start_it_serves_is_not_ready_and_recovers(self, server) -> None:
        server.kill()
        async with self.serving(server) as service:
            assert not service.ready
            with pytest.raises(BrokerUnavailableError):
                await publish(service, "room", b"lost")
            with pytest.raises(BrokerUnavailableError):
                await joined(service, "room")

            server.start()
            await up(service)

            listener = await joined(service, "room")
            await publish(service, "room", b"one")
            await listener.hears(1)
            assert listener.told == []

    async def test_killed_and_back_everybody_hears_again_and_is_told_of_the_gap_once(
        self, server
    ) -> None:
        async with self.serving(server) as service, self.serving(server) as other:
            await up(service, other)
            listeners = [await joined(service, f"room.{n}") for n in range(50)]

            server.kill()
            await eventually(lambda: not service.ready)
            server.start()
            await up(service, other)

            for n in range(50):
                await publish(other, f"room.{n}", b"after")
            for listener in listeners:
                await listener.hears(1)
                assert listener.heard == [b"after"]
                assert listener.told == ["gap"]

    async def test_killed_under_load_nothing_acknowledged_is_lost(self, durable) -> None:
        """What was missed is read when the server is back, in order, without a gap."""
        channels = [f"kept.{n}" for n in range(5)]
        async with self.serving(durable) as service, self.serving(durable) as other:
            await up(service, other)
            listeners = {channel: await joined(service, channel) for channel in channels}
            load = Load(other, channels)
            for _ in range(2):
                await load.goes_on()
                durable.kill()
                await eventually(lambda: not service.ready and not other.ready)
                durable.start()
                await up(service, other)
            await load.goes_on()
            await load.stop()

            for channel, listener in listeners.items():
                sent = load.acknowledged[channel]
                await eventually(partial(listener.heard.__contains__, sent[-1]))
                assert [data for data in sent if data not in listener.heard] == []
                numbers = [int(data) for data in listener.heard]
                assert numbers == sorted(set(numbers))
                assert listener.told == []
