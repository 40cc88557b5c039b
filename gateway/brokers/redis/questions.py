"""Questions to other workers, and their answers."""

import asyncio
from itertools import count
from typing import Final

from gateway.brokers import wire
from gateway.channels.broker import Receiver
from gateway.errors import BrokerUnavailableError, NodeGoneError
from gateway.remote.patience import patience
from gateway.remote.redis_commands import Commands
from gateway.tasks import TaskSet

from .names import Names, is_node

_AT_ONCE: Final = 1000
_FORGOTTEN: Final = 1.0


class Questions:
    """Asks over the inboxes of the workers; one question, one answer, or an error in time."""

    def __init__(
        self, commands: Commands, names: Names, node: str, *, counted: bool, deadline: float
    ) -> None:
        self._commands, self._names, self._node = commands, names, node
        self._counted = counted
        self._deadline = deadline
        self._numbers = count(1)
        self._open: dict[int, asyncio.Future[bytes]] = {}
        self._answering = TaskSet()

    async def close(self) -> None:
        """Stop answering."""
        await self._answering.close()

    async def ask(self, node: str, data: bytes) -> bytes:
        """The worker's answer; NodeGoneError when there is none of that name."""
        if not is_node(node):
            raise NodeGoneError(f"no worker is called {node!a}")
        number = next(self._numbers)
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._open[number] = future
        try:
            alive = self._commands.call("ZSCORE", self._names.alive, node)
            heard = self._commands.call(
                "PUBLISH", self._names.inbox(node), wire.question(self._node, number, data)
            )
            known = await alive is not None
            if await heard == 0 and self._counted:
                raise NodeGoneError(f"no worker is called {node}")
            # The list of the living is lost with the server's data, the worker is not.
            async with patience(self._deadline if known else _FORGOTTEN):
                return await future
        except TimeoutError as exc:
            if not known:
                raise NodeGoneError(f"no worker is called {node}") from exc
            raise BrokerUnavailableError(f"worker {node} does not answer") from exc
        finally:
            del self._open[number]

    def on_letter(self, payload: bytes, receiver: Receiver) -> None:
        """What came to this worker's inbox; MalformedError when it is nothing."""
        letter = wire.read_letter(payload)
        if isinstance(letter, wire.Question):
            if is_node(letter.asker) and len(self._answering) < _AT_ONCE:
                self._answering.spawn(self._answer(letter, receiver), name="answer a worker")
            return
        future = self._open.get(letter.number)
        if future is not None and not future.done():
            future.set_result(letter.data)

    async def _answer(self, question: wire.Question, receiver: Receiver) -> None:
        data = await receiver.on_question(question.data)
        payload = wire.answer(question.number, data)
        self._commands.call("PUBLISH", self._names.inbox(question.asker), payload)
