"""The short way to the members of a channel that is left alone by them.

Asking each member whether and how it can be told takes as long as a twentieth of telling it. As
long as nobody comes, goes, falls behind or changes, the answers stay the same: then they are kept,
and all who get the same bytes are handed them one after the other.
"""

from collections.abc import Callable, Iterable
from typing import Final

import structlog

from .publication import Publication
from .subscriber import Subscriber

log: Final = structlog.get_logger(__name__)

_FAILED: Final = "delivery failed"

WORTHWHILE: Final = 16
"""Members from which on it is kept; for fewer the list would be the greater part."""


class Changes:
    """Counts what makes the answers of any member of this worker untrue; shared by all."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Lanes:
    """How to reach these members, as they are now; to be made anew when that changes."""

    __slots__ = ("_asked", "_lanes")

    def __init__(self, members: Iterable[Subscriber]) -> None:
        self._asked: list[Subscriber] = []
        # By the key of the bytes: the one who has them made, and how to write to the others.
        self._lanes: dict[object, tuple[Subscriber, list[Callable[[bytes], None]]]] = {}
        for member in members:
            lane = member.lane()
            if lane is None:
                self._asked.append(member)
            elif lane[0] in self._lanes:
                self._lanes[lane[0]][1].append(lane[1])
            else:
                self._lanes[lane[0]] = (member, [])

    def pass_on(self, publication: Publication) -> None:
        """Deliver to each of them."""
        for key, (first, others) in self._lanes.items():
            deliver(first, publication)
            encoded = publication.encoded.get(key)
            if encoded is None:
                # The first one is broken, which costs it its connection and is logged.
                continue
            for write in others:
                try:
                    write(encoded)
                except Exception:
                    # As in `deliver`, which would be a call for each of thousands.
                    log.exception(_FAILED)
        for member in self._asked:
            deliver(member, publication)


def deliver(member: Subscriber, publication: Publication) -> None:
    """Deliver to one who is asked; never raises."""
    try:
        member.deliver(publication)
    except Exception:
        # One broken subscriber must not cost the others theirs.
        log.exception(_FAILED)
