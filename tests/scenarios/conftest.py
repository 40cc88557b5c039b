"""One php-fpm for each module; a gateway for each test."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.inprocess import Gateway
from tests.phpfpm import PhpFpm, find_php_fpm

AS_IN_PRODUCTION = {"php_admin_flag[display_errors]": "off", "php_admin_flag[log_errors]": "on"}


@pytest.fixture(scope="module")
def php() -> Iterator[PhpFpm]:
    """Four children on a unix socket, shared by the tests of a module."""
    if find_php_fpm() is None:
        pytest.skip("no php-fpm on this machine")
    with PhpFpm(settings=AS_IN_PRODUCTION) as server:
        yield server


@pytest.fixture
async def start(php: PhpFpm) -> AsyncIterator[Callable[..., Any]]:
    """Starts gateways with the options of `Gateway`; the test's end stops them."""
    (php.document_root / "events.log").unlink(missing_ok=True)
    async with AsyncExitStack() as stack:

        async def started(**options: Any) -> Gateway:
            return await stack.enter_async_context(Gateway(options.pop("php", php), **options))

        yield started
