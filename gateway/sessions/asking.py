"""Questions to PHP that somebody awaits: connect, subscribe, publish, authorize.

Messages do not come this way: they are answered by callbacks, without a future.
"""

import asyncio

from fastcgi import FastCGIError, Response
from gateway.backend.environ import event_block
from gateway.backend.invocation import Invocation
from gateway.backend.target import Target

from .identity import Identity


class _Waiter:
    """Fulfils `backend.invocation.Asker` for one future."""

    __slots__ = ("future", "id")

    def __init__(self, connection_id: str) -> None:
        self.id = connection_id
        self.future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

    def on_answer(self, _invocation: Invocation, response: Response) -> None:
        if not self.future.done():
            self.future.set_result(response)

    def on_no_answer(self, _invocation: Invocation, error: FastCGIError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


async def ask(
    target: Target,
    identity: Identity,
    event: str,
    body: bytes = b"{}",
    extra: tuple[tuple[str, str], ...] = (),
) -> Response:
    """PHP's answer to an event of the connection, whatever its status.

    The pool keeps the deadlines. Raises FastCGIError when there is no answer. Who stops waiting
    stops nothing: the script may run, its answer is dropped.
    """
    waiter = _Waiter(identity.id)
    blocks = (identity.block, identity.state_block, event_block(event, len(body), extra))
    invocation = Invocation(target, blocks, body, waiter)
    target.submit(invocation, identity.serial_key)
    return await waiter.future
