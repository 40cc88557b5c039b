"""What stands before the internal listener: room for what matters more than one more caller."""

import asyncio
from collections.abc import Callable
from typing import cast

from .descriptors import FROM_CALLERS, Descriptors
from .handshake import NO_FILES


class Threshold:
    """The factory of its connections; `plain` makes the protocol of those that are let in."""

    def __init__(self, plain: Callable[[], asyncio.Protocol]) -> None:
        self.plain = plain
        self.descriptors = Descriptors(FROM_CALLERS)

    def __call__(self) -> "_Caller":
        """For `loop.create_server`."""
        return _Caller(self)


class _Caller(asyncio.Protocol):
    """A connection until it is another protocol's."""

    __slots__ = ("_threshold",)

    def __init__(self, threshold: Threshold) -> None:
        self._threshold = threshold

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand it over, or turn it away."""
        made = cast("asyncio.Transport", transport)
        if self._threshold.descriptors.suffice(made):
            plain = self._threshold.plain()
            made.set_protocol(plain)
            plain.connection_made(made)
        else:
            made.write(NO_FILES)
            made.close()
