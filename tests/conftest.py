"""Fixtures that any test may ask for."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

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
