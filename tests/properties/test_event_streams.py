"""Whatever order things happen in: a reader that comes back misses nothing in silence."""

import asyncio
import json
import random

import pytest

from gateway.channels.publication import TEXT_TYPE
from gateway.sessions.client import TransportKind
from tests.fakes import House
from tests.readers import Reader, come

CHANNELS = ("kept.a", "kept.b")
KEPT = 4


async def house_with_history() -> House:
    history = {"size": KEPT, "ttl": "1h"}
    house = House(
        transports=["sse", "longpoll"],
        subscribe=list(CHANNELS),
        channels=[{"match": "kept.*", "history": history}],
    )
    return await house.start()


def check(heard: list[int | None]) -> None:
    """The numbers grow by one; only where a gap was told (None) they may jump, and forward."""
    last, gap = None, False
    for number in heard:
        if number is None:
            gap = True
            continue
        assert last is None or number == last + 1 or (gap and number > last), heard
        last, gap = number, False


def read(reader: Reader, count: int, heard: dict[str, list[int | None]]) -> str:
    """Take note of so many events; the id that the client has then."""
    for event in reader.events[:count]:
        if event.name == "gap":
            heard[json.loads(event.data)["channel"]].append(None)
        else:
            channel, number = event.data.split()
            heard[channel].append(int(number))
        reader.read_id = event.id
    return reader.read_id


@pytest.mark.parametrize("seed", range(150))
async def test_a_stream_that_breaks_anywhere_hears_everything_once_or_of_a_gap(seed: int) -> None:
    chance = random.Random(seed)
    house = await house_with_history()
    said = dict.fromkeys(CHANNELS, 0)
    heard: dict[str, list[int | None]] = {channel: [] for channel in CHANNELS}

    reader: Reader | None = None
    last_id = ""
    for _ in range(60):
        act = chance.random()
        if act < 0.6:
            channel = chance.choice(CHANNELS)
            said[channel] += 1
            await house.publish(channel, f"{channel} {said[channel]}", content_type=TEXT_TYPE)
        elif reader is None:
            reader = await come(house, TransportKind.SSE, last_id)
        elif act < 0.8:
            # The connection may break after any of the events that were written.
            last_id = read(reader, chance.randint(0, len(reader.events)), heard)
            reader.go()
            reader = None
    if reader is None and last_id:
        reader = await come(house, TransportKind.SSE, last_id)
    if reader is not None:
        read(reader, len(reader.events), heard)
        for channel in CHANNELS:
            check(heard[channel])
            # What was said last was heard, or may have been missed.
            assert not heard[channel] or heard[channel][-1] in {said[channel], None}
    await house.stop()


@pytest.mark.parametrize("seed", range(100))
async def test_polls_hear_everything_once_and_in_order_while_it_is_kept(seed: int) -> None:
    chance = random.Random(seed)
    house = await house_with_history()
    said = dict.fromkeys(CHANNELS, 0)
    heard: dict[str, list[int]] = {channel: [] for channel in CHANNELS}
    last_id = ""
    for _ in range(60):
        # Never more behind than what is kept.
        behind = max(said[channel] - len(heard[channel]) for channel in CHANNELS)
        if behind < KEPT and chance.random() < 0.5:
            channel = chance.choice(CHANNELS)
            said[channel] += 1
            await house.publish(channel, f"{channel} {said[channel]}", content_type=TEXT_TYPE)
        else:
            reader = await come(house, TransportKind.LONGPOLL, last_id)
            if chance.random() < 0.3:
                await asyncio.sleep(0)
            for event in reader.events:
                channel, number = event.data.split()
                heard[channel].append(int(number))
                last_id = event.id
            reader.go()
    for channel in CHANNELS:
        assert heard[channel] == list(range(1, len(heard[channel]) + 1))
    await house.stop()
