"""Whom a connection belongs to, as the connection sees it."""

from typing import TYPE_CHECKING, Protocol

from .errors import FastCGIError
from .exchange import Exchange
from .response import Response
from .retry import Retry

if TYPE_CHECKING:
    from .connection import Connection


class Owner(Protocol):
    """Whom a connection tells what happened; it never decides about itself."""

    def answered(self, connection: "Connection", exchange: Exchange, response: Response) -> None:
        """The answer is complete. Unless `keep` is set, the connection can only be closed."""

    def broken(
        self, connection: "Connection", error: FastCGIError | None, retry: Retry | None
    ) -> None:
        """It cannot go on; `error` concerns the exchange under way, None if there was none."""
