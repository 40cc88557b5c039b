"""The sessions of this worker, by the id of their connection."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .session import Session


class Directory:
    """Who is connected here, how many from where, and who is gone but still with PHP."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._lingering: set[Session] = set()
        self.addresses: Counter[str] = Counter()
        self._left = asyncio.Event()

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator["Session"]:
        return iter(list(self._sessions.values()))

    @property
    def lingering(self) -> tuple["Session", ...]:
        """Whose client is gone, while what it had sent is still being executed."""
        return tuple(self._lingering)

    async def emptied(self, within: float) -> bool:
        """Wait until nobody is connected and nobody's messages are with PHP; whether that came."""
        try:
            async with asyncio.timeout(within):
                while self._sessions or self._lingering:
                    self._left.clear()
                    await self._left.wait()
        except TimeoutError:
            return False
        return True

    def add(self, session: "Session") -> None:
        """The session may be found by its id from now on."""
        self._sessions[session.id] = session

    def remove(self, session: "Session", *, lingers: bool = False) -> None:
        """The client is gone; a session that lingers is waited for until it is forgotten."""
        self._sessions.pop(session.id, None)
        if lingers:
            self._lingering.add(session)
        self._left.set()

    def forget(self, session: "Session") -> None:
        """All that the client had sent is concluded."""
        self._lingering.discard(session)
        self._left.set()

    def find(self, connection_id: str) -> "Session | None":
        """The live session of that id, if this worker holds it."""
        return self._sessions.get(connection_id)
