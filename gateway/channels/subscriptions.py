"""Which subscriber of this worker is in which channels.

Most connections are in one channel: for those the audience itself is kept, without a
collection around it.
"""

from .audience import Attempt, Audience
from .lanes import Changes
from .subscriber import Subscriber


class Subscriptions:
    """The audiences of this worker, by channel and by subscriber.

    An audience exists as long as somebody is in it or about to join.
    """

    __slots__ = ("_audiences", "_joining", "_of", "changes", "count")

    def __init__(self) -> None:
        self._audiences: dict[str, Audience] = {}
        self._of: dict[Subscriber, Audience | dict[Audience, None]] = {}
        self._joining: dict[Subscriber, list[Audience]] = {}
        self.changes = Changes()
        self.count = 0
        """Subscriptions: every subscriber once for every channel it is in."""

    def __len__(self) -> int:
        return len(self._audiences)

    def audiences(self) -> tuple[Audience, ...]:
        """Every audience there is now."""
        return tuple(self._audiences.values())

    def find(self, channel: str) -> Audience | None:
        """The channel's audience, if there is one."""
        return self._audiences.get(channel)

    def begin(self, channel: str, subscriber: Subscriber) -> tuple[Audience, Attempt]:
        """Start a join: the audience is made if need be and holds what passes from now on."""
        audience = self._audiences.get(channel)
        if audience is None:
            audience = self._audiences[channel] = Audience(channel, self.changes)
        self._joining.setdefault(subscriber, []).append(audience)
        return audience, audience.begin(subscriber)

    def end(self, audience: Audience, attempt: Attempt) -> None:
        """End a join, either way; `release` the audience if nobody was let in."""
        audience.end(attempt)
        joining = self._joining[attempt.subscriber]
        joining.remove(audience)
        if not joining:
            del self._joining[attempt.subscriber]

    def release(self, audience: Audience) -> bool:
        """Forget an audience that is deserted; whether it was."""
        if audience.deserted and self._audiences.get(audience.channel) is audience:
            del self._audiences[audience.channel]
            return True
        return False

    def of(self, subscriber: Subscriber) -> tuple[Audience, ...]:
        """The audiences a subscriber is in, in the order of joining."""
        found = self._of.get(subscriber)
        if found is None:
            return ()
        return (found,) if isinstance(found, Audience) else tuple(found)

    def add(self, audience: Audience, subscriber: Subscriber) -> None:
        """Note that the subscriber was let into the audience; once is enough."""
        found = self._of.get(subscriber)
        if found is None:
            self._of[subscriber] = audience
        elif isinstance(found, dict):
            if audience in found:
                return
            found[audience] = None
        elif found is audience:
            return
        else:
            self._of[subscriber] = {found: None, audience: None}
        self.count += 1

    def remove(self, audience: Audience, subscriber: Subscriber) -> bool:
        """Take the subscriber out of the audience; False when it was neither in nor coming."""
        if subscriber in audience:
            self._forget(audience, subscriber)
        return audience.remove(subscriber)

    def dissolve(self, audience: Audience) -> tuple[Subscriber, ...]:
        """Take everybody out; who it was."""
        members = audience.members()
        for member in members:
            self._forget(audience, member)
        audience.empty()
        return members

    def joining(self, subscriber: Subscriber) -> tuple[Audience, ...]:
        """The audiences the subscriber is about to join."""
        return tuple(self._joining.get(subscriber, ()))

    def _forget(self, audience: Audience, subscriber: Subscriber) -> None:
        self.count -= 1
        found = self._of[subscriber]
        if not isinstance(found, dict):
            del self._of[subscriber]
            return
        del found[audience]
        if len(found) == 1:
            (self._of[subscriber],) = found
