"""Who of this worker hears one channel, and how far the channel has come here.

An audience knows the position of the last publication that passed (`_seen`). It drops what
passes twice, tells its members of what never came, and lets each member in at a certain
position: what a newcomer has already been handed is not delivered to it again. Nothing here
waits or talks to a broker.
"""

from dataclasses import dataclass

from .lanes import WORTHWHILE, Changes, Lanes, deliver
from .publication import NOWHERE, Position, Publication
from .resume import Held
from .subscriber import Subscriber


@dataclass(slots=True, eq=False)
class Attempt:
    """A join under way. `stale` asks for another try, `abandoned` for none."""

    subscriber: Subscriber
    held: Held
    mark: int
    stale: bool = False
    abandoned: bool = False

    def restart(self) -> None:
        """Begin again: only what arrives from now on counts."""
        self.stale = False
        self.mark = self.held.mark

    def arrived(self) -> tuple[Publication, ...] | None:
        """What arrived since the attempt began, None when that was too much to hold."""
        return self.held.since(self.mark)


class Audience:
    """The local subscribers of one channel, in the order of joining.

    For each member is kept the position at which it was let in, or None while a gap makes that
    uncertain.
    """

    __slots__ = (
        "_ahead",
        "_attempts",
        "_changes",
        "_held",
        "_lanes",
        "_members",
        "_others",
        "_seen",
        "_stood",
        "_uncertain",
        "channel",
    )

    def __init__(self, channel: str, others: Changes) -> None:
        self.channel = channel
        self._others = others
        self._stood = (0, 0)
        self._lanes: Lanes | None = None
        self._members: dict[Subscriber, Position | None] = {}
        self._changes = 0
        self._seen: Position | None = None
        self._uncertain = False
        self._ahead: dict[Subscriber, Position] | None = None
        self._attempts: list[Attempt] | None = None
        self._held: Held | None = None

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, subscriber: Subscriber) -> bool:
        return subscriber in self._members

    @property
    def deserted(self) -> bool:
        """Whether nobody is here and nobody is coming."""
        return not self._members and not self._attempts

    def members(self) -> tuple[Subscriber, ...]:
        """Who is here now; the tuple does not change when they do."""
        return tuple(self._members)

    # Coming and going

    def begin(self, subscriber: Subscriber) -> Attempt:
        """Start holding what passes, for somebody who is about to join."""
        if self._held is None:
            self._held = Held()
        if self._attempts is None:
            self._attempts = []
        attempt = Attempt(subscriber, self._held, self._held.mark)
        self._attempts.append(attempt)
        return attempt

    def end(self, attempt: Attempt) -> None:
        """The attempt is over, either way."""
        if self._attempts is not None:
            self._attempts.remove(attempt)
            if not self._attempts:
                self._attempts = self._held = None

    def admit(self, subscriber: Subscriber, position: Position) -> None:
        """Let somebody in who has been handed everything up to the position."""
        alone = not self._members or (len(self._members) == 1 and subscriber in self._members)
        if position.epoch:
            seen = self._seen
            if alone and not self._attempts:
                self._seen = position
                self._uncertain = False
            elif seen is None or seen.epoch == position.epoch:
                # Others still need what lies between `seen` and the position.
                if seen is None or position.offset > seen.offset:
                    if self._ahead is None:
                        self._ahead = {}
                    self._ahead[subscriber] = position
            else:
                self.lose()
                self._seen = position
        self._members[subscriber] = position
        self._changes += 1

    def admitted_at(self, subscriber: Subscriber) -> Position | None:
        """Where a member was let in; None when it is none, or a gap made it uncertain."""
        return self._members.get(subscriber)

    def here(self, fallback: Position) -> Position:
        """The position of the last publication that passed, or the fallback."""
        return self._seen or fallback

    def remove(self, subscriber: Subscriber) -> bool:
        """Take somebody out, and call off its joining; False when there was neither."""
        found = False
        for attempt in self._attempts or ():
            if attempt.subscriber is subscriber:
                attempt.abandoned = found = True
        if subscriber in self._members:
            found = True
            del self._members[subscriber]
            self._changes += 1
            self._lanes = None
            if self._ahead is not None:
                self._ahead.pop(subscriber, None)
            if not self._members:
                # Until somebody is here again the broker may send nothing.
                self._seen = self._ahead = None
                self._uncertain = False
        return found

    def empty(self) -> None:
        """Take every member out; those who are joining begin again."""
        self._members.clear()
        self._changes += 1
        self._lanes = None
        self._seen = self._ahead = None
        self._uncertain = False
        self.restart_attempts()

    def restart_attempts(self) -> None:
        """What the broker has told those who are joining may not be true any more."""
        for attempt in self._attempts or ():
            attempt.stale = True

    # What passes

    def pass_on(self, publication: Publication) -> int:
        """Deliver to every member; how many there were."""
        if self._held is not None:
            self._held.add(publication)
        if not self._members:
            return 0
        position = publication.position
        if position.offset:
            if not self._advance(position):
                return 0
            if self._ahead is not None:
                self._check_ahead(position)
        # In a channel with history, what has no offset says nothing about the gap.
        if self._uncertain and (position.offset or self._seen is None):
            self._settle(position)
        exclude = publication.message.exclude
        if exclude or self._ahead is not None:
            return self._pass_on_to_some(publication, exclude)
        return self._pass_on_to_all(publication)

    def lose(self, *, outage: bool = False) -> None:
        """Publications may have been missed: tell each member, once until the next one passes.

        Where nothing is kept, a further outage is told again: a member may have asked elsewhere
        for what the last one cost it, and knows nothing of this one.
        """
        self.restart_attempts()
        again = outage and not (self._seen and self._seen.epoch)
        for member in self.members():
            self._make_uncertain(member, again=again)

    def _make_uncertain(self, member: Subscriber, *, again: bool = False) -> None:
        if again or self._members.get(member) is not None:
            self._members[member] = None
            self._uncertain = True
            member.on_gap(self.channel)

    def _advance(self, position: Position) -> bool:
        """Note that the publication of this position passes; False when it has passed before."""
        seen = self._seen
        if seen is not None:
            if position.epoch != seen.epoch:
                self.lose()
            elif position.offset <= seen.offset:
                return False
            elif position.offset != seen.offset + 1:
                self.lose()
        self._seen = position
        return True

    def _settle(self, position: Position) -> None:
        """The gap has ended: those who get this publication hear everything again."""
        self._uncertain = False
        before = Position(position.offset - 1, position.epoch) if position.offset else NOWHERE
        for member, admitted in self._members.items():
            if admitted is None:
                if self._ahead is not None and member in self._ahead:
                    self._uncertain = True
                else:
                    self._members[member] = before

    def _check_ahead(self, position: Position) -> None:
        """Find whom, of those handed more than had passed, the stream has reached now."""
        ahead = self._ahead or {}
        for member, handed in tuple(ahead.items()):
            if handed.epoch != position.epoch or handed.offset < position.offset:
                del ahead[member]
                if handed.epoch != position.epoch or handed.offset + 1 != position.offset:
                    self._make_uncertain(member)
        self._ahead = ahead or None

    def _pass_on_to_all(self, publication: Publication) -> int:
        stands = (self._changes, self._others.count)
        if stands != self._stood or len(self._members) < WORTHWHILE:
            # Where all the time somebody comes and goes, keeping answers would be in vain.
            self._stood, self._lanes = stands, None
            return self._ask_all(publication)
        if self._lanes is None:
            self._lanes = Lanes(self._members)
        self._lanes.pass_on(publication)
        return len(self._members)

    def _ask_all(self, publication: Publication) -> int:
        changes = self._changes
        members = self.members()
        for member in members:
            if self._changes != changes and member not in self._members:
                continue
            deliver(member, publication)
        return len(members)

    def _pass_on_to_some(self, publication: Publication, exclude: str) -> int:
        ahead = (self._ahead or {}) if publication.position.offset else {}
        count = 0
        for member in self.members():
            if member not in self._members or member in ahead or member.id == exclude:
                continue
            count += 1
            deliver(member, publication)
        return count
