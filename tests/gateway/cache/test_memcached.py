"""What memcached's store makes of a memcached that hangs up."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gateway.cache.memcached import MemcachedStore
from gateway.config.units import Listen


class Peer:
    """Reads what a question begins with, writes `answer` and hangs up."""

    def __init__(self) -> None:
        self.answer = b""
        self.asked = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        self.asked += 1
        writer.write(self.answer)
        writer.close()


@pytest_asyncio.fixture
async def peer() -> AsyncIterator[tuple[Peer, MemcachedStore]]:
    """A peer of its own port, and the store that asks it."""
    peer = Peer()
    async with await asyncio.start_server(peer.serve, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        store = MemcachedStore(Listen(host="127.0.0.1", port=port))
        yield peer, store
        await store.close()


@pytest.mark.parametrize("answer", [b"", b"STO", b"STORED"])
async def test_a_memcached_that_hangs_up_before_its_answer_is_whole_is_an_error(
    peer: tuple[Peer, MemcachedStore], answer: bytes
) -> None:
    other, store = peer
    other.answer = answer
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await store.put(b"key", b"value", 10)
    assert other.asked == 2


async def test_a_kept_value_is_one_answer(peer: tuple[Peer, MemcachedStore]) -> None:
    other, store = peer
    other.answer = b"STORED\r\n"
    await store.put(b"key", b"value", 10)
    assert other.asked == 1
