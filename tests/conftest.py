"""Fixtures that any test may ask for."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import pytest

from tests.fakes import House
from tests.phpfpm import PhpFpm, find_php_fpm


@pytest.fixture
def start_php_fpm() -> Iterator[Callable[..., PhpFpm]]:
    """Starts php-fpm servers with the options of `PhpFpm`; the test's end stops them."""
    if find_php_fpm() is None:
        pytest.skip("no php-fpm on this machine")
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(PhpFpm(**options))


@pytest.fixture
def php_fpm(start_php_fpm: Callable[..., PhpFpm]) -> PhpFpm:
    """A php-fpm with four children on a unix socket."""
    return start_php_fpm()


@pytest.fixture
async def build() -> AsyncIterator[Callable[..., Awaitable[House]]]:
    """Builds houses with the options of `House`; the test's end closes them."""
    async with AsyncExitStack() as stack:

        async def built(**options: Any) -> House:
            house = await House(**options).start()
            stack.push_async_callback(house.stop)
            return house

        yield built
