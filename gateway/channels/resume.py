"""What a joining subscriber has missed, put together from what was kept and what flew past.

While a join waits for its broker, publications of the channel go on arriving. They are held
(bounded), and when the broker has answered, its page and what was held are merged by offset:
every publication once and in order, or nothing and `recovered` False. Nothing here waits.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from .broker import Page
from .publication import NOWHERE, Position, Publication

HELD_PUBLICATIONS: Final = 1024
HELD_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Joined:
    """How a join ended.

    `publications` must be handed to the subscriber before anything that is delivered to it from
    now on: what it missed, oldest first. `position` is where it stands after them. `recovered`
    is False when publications may have been missed; then there are none.
    """

    position: Position
    recovered: bool = True
    publications: tuple[Publication, ...] = ()

    def until(self, admitted: Position, here: Position) -> "Joined":
        """The same for somebody who was let in before, and has heard everything since."""
        if not self.recovered or not self.position.epoch == here.epoch == admitted.epoch:
            return Joined(here, recovered=False)
        return Joined(
            here,
            publications=tuple(
                publication
                for publication in self.publications
                if publication.position.offset <= admitted.offset
            ),
        )

    def without(self, subscriber: str) -> "Joined":
        """The same without what the subscriber of that id is excluded from."""
        if not self.publications:
            return self
        return replace(
            self,
            publications=tuple(
                publication
                for publication in self.publications
                if publication.message.exclude != subscriber
            ),
        )


class Held:
    """The publications of one channel that arrived while joins were under way.

    Shared by all joins of the channel, each of which remembers the `mark` at which it began.
    Beyond the bounds the oldest are forgotten; who needed them is told by None.
    """

    __slots__ = ("_bytes", "_kept", "mark")

    def __init__(self) -> None:
        self._kept: deque[Publication] | None = None
        self._bytes = 0
        self.mark = 0

    def add(self, publication: Publication) -> None:
        """Hold one more."""
        self.mark += 1
        if self._kept is None:
            self._kept = deque()
        self._kept.append(publication)
        self._bytes += len(publication.message.data)
        while len(self._kept) > HELD_PUBLICATIONS or self._bytes > HELD_BYTES:
            self._bytes -= len(self._kept.popleft().message.data)

    def since(self, mark: int) -> tuple[Publication, ...] | None:
        """What was added after the mark, or None when part of it is forgotten."""
        count = self.mark - mark
        if not count or self._kept is None:
            return ()
        if count > len(self._kept):
            return None
        return tuple(self._kept)[len(self._kept) - count :]


def merge(
    joined: Position,
    page: Page | None,
    held: tuple[Publication, ...] | None,
    since: Position | None,
) -> Joined:
    """Put the pieces of a join together.

    `joined` is the broker's answer to the join, `page` its answer to `since`, `held` what
    arrived since the join began (None when that was too much).
    """
    if not joined.epoch:
        if held is None or since is not None:
            return Joined(NOWHERE, recovered=False)
        return Joined(NOWHERE, publications=held)
    newest = joined if page is None else page.position
    start = newest if since is None else since
    kept = () if page is None else page.publications
    if held is not None and (since is None or (page is not None and page.recovered)):
        whole = _chain(start, kept, newest, held)
        if whole is not None:
            return Joined(whole[-1].position if whole else newest, publications=whole)
    return Joined(_newest(newest, held or ()), recovered=False)


def _chain(
    start: Position,
    kept: tuple[Publication, ...],
    newest: Position,
    held: tuple[Publication, ...],
) -> tuple[Publication, ...] | None:
    """Everything after `start`: `kept` reaches to `newest`, `held` beyond; None if not whole."""
    if start.epoch != newest.epoch:
        return None
    whole = list(kept)
    reached = newest.offset
    for publication in held:
        position = publication.position
        if position.epoch != newest.epoch:
            return None
        if position.offset > reached:
            whole.append(publication)
            reached = position.offset
    expected = range(start.offset + 1, reached + 1)
    found = [publication.position.offset for publication in whole]
    return tuple(whole) if found == list(expected) else None


def _newest(position: Position, held: Iterable[Publication]) -> Position:
    """The last position that is known: of what was held, else the broker's."""
    for publication in held:
        other = publication.position
        if other.epoch != position.epoch or other.offset > position.offset:
            position = other
    return position
