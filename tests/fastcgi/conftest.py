"""What the tests of connections and pools share."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack

import pytest
import uvloop

from fastcgi.address import Address
from fastcgi.limits import Limits
from fastcgi.pool import Pool
from tests.fastcgi.peer import Application


def pytest_asyncio_loop_factories(config, item):
    """Every test that waits runs over both event loops."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def start_application() -> Iterator[Callable[..., Application]]:
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(Application(**options))


@pytest.fixture
def application(start_application: Callable[..., Application]) -> Application:
    return start_application()


@pytest.fixture
async def open_pool() -> AsyncIterator[Callable[..., Pool]]:
    """Opens pools at addresses; `observer` and `clock` are the pool's, the rest are limits."""
    async with AsyncExitStack() as stack:

        def open_it(*addresses: Address, **options) -> Pool:
            own = {
                name: options.pop(name)
                for name in ("clock", "jitter", "on_address")
                if name in options
            }
            pool = Pool(addresses, Limits(**options), **own)
            stack.push_async_callback(pool.close)
            return pool

        yield open_it
