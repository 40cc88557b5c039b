"""The live sessions of this worker, by the id of their connection."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .session import Session


class Directory:
    """Who is connected here, and how many from where."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self.addresses: Counter[str] = Counter()
        self._left = asyncio.Event()

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator["Session"]:
        return iter(list(self._sessions.values()))

    async def emptied(self, within: float) -> bool:
        """Wait until nobody is connected, at most `within` seconds; whether that came."""
        try:
            async with asyncio.timeout(within):
                while self._sessions:
                    self._left.clear()
                    await self._left.wait()
        except TimeoutError:
            return False
        return True

    def add(self, session: "Session") -> None:
        """The session may be found by its id from now on."""
        self._sessions[session.id] = session

    def remove(self, session: "Session") -> None:
        """The session is gone; one that was not there changes nothing."""
        self._sessions.pop(session.id, None)
        self._left.set()

    def find(self, connection_id: str) -> "Session | None":
        """The live session of that id, if this worker holds it."""
        return self._sessions.get(connection_id)
