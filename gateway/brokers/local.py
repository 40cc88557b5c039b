"""What this worker holds of each channel, to come back to it when the server was away."""

from collections.abc import Sequence
from typing import Final

from gateway.channels.broker import ChannelRules, Member, Page, Receiver
from gateway.channels.publication import NOWHERE, Position, Publication

_HELD: Final = 1000


class Local:
    """One channel: its members here, the joins under way, how far it has come.

    While it is unknown what was missed (`lost`), publications of a channel with history are held
    back: what was missed is handed over first.
    """

    __slots__ = ("_held", "joining", "lost", "members", "rules", "seen")

    def __init__(self, rules: ChannelRules) -> None:
        self.rules = rules
        self.members: dict[str, Member] = {}
        self.joining = 0
        self.seen: Position = NOWHERE
        self.lost = False
        self._held: list[Publication] | None = None

    @property
    def deserted(self) -> bool:
        """Whether nobody is here and nobody is coming."""
        return not self.members and not self.joining

    def lose(self) -> None:
        """Nothing is heard any more."""
        self.lost = True
        self._held = [] if self.seen.epoch else None

    def begin_anew(self) -> None:
        """The channel was closed: what was missed of its old life is nobody's loss."""
        self.seen, self.lost, self._held = NOWHERE, False, None

    def pass_on(self, publication: Publication, receiver: Receiver) -> bool:
        """Hand a publication on, or hold it; False when it is of another life than the last."""
        if self._held is not None and len(self._held) < _HELD:
            self._held.append(publication)
            return True
        if self._held is not None:
            self.give_up(publication.channel, receiver, publication.position)
        position, seen = publication.position, self.seen
        if position.epoch and (position.epoch != seen.epoch or position.offset > seen.offset):
            self.seen = position
        receiver.on_publication(publication)
        return not seen.epoch or position.epoch == seen.epoch

    def recover(self, channel: str, page: Page, receiver: Receiver) -> None:
        """Hand over what was missed, if the page has all of it, and then what was held."""
        if not page.recovered or not page.position.epoch:
            self.give_up(channel, receiver, page.position)
            return
        self.lost = False
        self._deliver(page.publications, receiver)

    def give_up(self, channel: str, receiver: Receiver, position: Position) -> None:
        """Tell of the gap; go on with what was held."""
        self.lost = False
        self.seen = position
        receiver.on_gap(channel)
        self._deliver((), receiver)

    def _deliver(self, missed: Sequence[Publication], receiver: Receiver) -> None:
        held, self._held = self._held or [], None
        for publication in (*missed, *held):
            self.pass_on(publication, receiver)
