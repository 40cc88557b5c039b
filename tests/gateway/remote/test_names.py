import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.remote.names import Names

ADDRESS = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))]
QUESTION = ("redis.test", 80, 0, socket.SOCK_STREAM, 0, 0)


class Resolver:
    """Answers, fails, or says nothing until it is `released`."""

    def __init__(self) -> None:
        self.asked = 0
        self.error = 0
        self.released = threading.Event()
        self.released.set()

    def __call__(self, *_question: Any) -> list[tuple[Any, ...]]:
        self.asked += 1
        self.released.wait(20)
        if self.error:
            raise socket.gaierror(self.error, "as told")
        return ADDRESS


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    resolver = Resolver()
    yield resolver
    resolver.released.set()


@pytest.fixture
def names(resolver: Resolver) -> Names:
    return Names(resolver, patience=0.02)


async def test_a_silent_resolver_is_asked_once_however_many_want_to_know(resolver, names) -> None:
    resolver.released.clear()
    asking = [asyncio.ensure_future(names.find(*QUESTION)) for _ in range(50)]
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(names.find(*QUESTION), 0.01)

    resolver.released.set()

    assert await asyncio.gather(*asking) == [ADDRESS] * 50
    assert resolver.asked == 1


async def test_while_it_is_silent_a_name_means_what_it_meant_last(resolver, names) -> None:
    await names.find(*QUESTION)
    resolver.released.clear()

    assert [await names.find(*QUESTION) for _ in range(3)] == [ADDRESS] * 3
    assert resolver.asked == 2


@pytest.mark.parametrize("error", [socket.EAI_AGAIN, socket.EAI_FAIL])
async def test_while_it_fails_a_name_means_what_it_meant_last(resolver, names, error) -> None:
    await names.find(*QUESTION)
    resolver.error = error

    assert await names.find(*QUESTION) == ADDRESS


async def test_a_failure_is_told_where_nothing_is_known(resolver, names) -> None:
    resolver.error = socket.EAI_AGAIN
    with pytest.raises(socket.gaierror):
        await names.find(*QUESTION)

    resolver.error = 0

    assert await names.find(*QUESTION) == ADDRESS


async def test_a_name_that_there_is_no_more_is_forgotten(resolver, names) -> None:
    """Its address may be somebody else's by now."""
    await names.find(*QUESTION)
    resolver.error = socket.EAI_NONAME
    with pytest.raises(socket.gaierror):
        await names.find(*QUESTION)

    resolver.error = socket.EAI_AGAIN

    with pytest.raises(socket.gaierror):
        await names.find(*QUESTION)


def test_the_end_of_the_process_does_not_wait_for_it(resolver, names) -> None:
    resolver.released.clear()

    async def ask() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(names.find(*QUESTION), 0.01)

    asyncio.run(ask())
    assert not resolver.released.is_set()
    resolver.released.set()
