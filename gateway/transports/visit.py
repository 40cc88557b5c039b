"""An admission that a coroutine waits for."""

import asyncio

from .doorman import Refusal, Welcome


class Visit:
    """Implements `doorman.Admission` for requests that aiohttp's server handles."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[Welcome | Refusal] = asyncio.get_running_loop().create_future()

    @property
    def gone(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self._answer.cancelled()

    def accept(self, welcome: Welcome) -> None:
        """Let the client in."""
        self._give(welcome)

    def refuse(self, refusal: Refusal) -> None:
        """Turn the client away."""
        self._give(refusal)

    def _give(self, answer: Welcome | Refusal) -> None:
        if not self._answer.done():
            self._answer.set_result(answer)

    @property
    def welcome(self) -> Welcome | None:
        """What the doorman has said, if that was yes."""
        if not self._answer.done() or self._answer.cancelled():
            return None
        given = self._answer.result()
        return given if isinstance(given, Welcome) else None

    async def answer(self) -> Welcome | Refusal:
        """Wait for it; cancelling tells the doorman that the client has gone.

        The doorman may have let it in in the same moment: see `welcome`.
        """
        return await self._answer
