"""An exchange for those who await."""

import asyncio

from .errors import FastCGIError
from .exchange import Exchange
from .response import Response


class AwaitedExchange(Exchange):
    """Its answer, or its failure, is the end of `future`; a cancelled future hears nothing."""

    __slots__ = ("future",)

    def __init__(
        self,
        params: tuple[bytes, ...],
        body: bytes,
        *,
        timeout: float,
        script: str,
        idempotent: bool,
        future: asyncio.Future[Response],
    ) -> None:
        super().__init__(params, body, timeout=timeout, script=script, idempotent=idempotent)
        self.future = future

    def on_response(self, response: Response) -> None:
        """Hand the answer over."""
        if not self.future.done():
            self.future.set_result(response)

    def on_failure(self, error: FastCGIError) -> None:
        """Raise where the answer is awaited."""
        if not self.future.done():
            self.future.set_exception(error)
