"""What channels tell a client: publications, who comes and goes, and that something was missed."""

from functools import partial

from gateway.channels.broker import Member
from gateway.channels.publication import Publication
from gateway.channels.subscriber import Lane
from gateway.codes import CloseCode

from .outbox import Outbox
from .state import JOINING, OPEN


class Hearing(Outbox):
    """The part of a session that channels talk to. Fulfils `channels.subscriber.Subscriber`."""

    __slots__ = ()

    def deliver(self, publication: Publication) -> None:
        """Hand on a publication."""
        if self._state is OPEN:
            if self.congested_since and self._is_full():
                return
            if self.route.counts_silence:
                self.spoke_at = self.services.now()
            # Not `_write`, and no call of the wire for what is encoded: there may be thousands.
            try:
                client = self.client
                encoded = publication.encoded.get(self._shared)
                if encoded is None:
                    encoded = self.wire.publication(client, publication)
                client.write(encoded)
            except Exception as exc:  # noqa: BLE001 - a mistake of ours costs this connection alone
                self._broken(exc)
        elif self._state is JOINING:
            self._tell_later(partial(self.deliver, publication))

    def lane(self) -> Lane | None:
        """The socket itself, as long as nothing but bytes has to be seen to."""
        if self._state is not OPEN or self.congested_since or self.route.counts_silence:
            return None
        return None if self._shared is None else (self._shared, self.client.write)

    def deliver_all(self, publications: tuple[Publication, ...]) -> None:
        """Hand on what a join has found, oldest first."""
        if not publications:
            return
        if self._state is JOINING:
            self._tell_later(partial(self.deliver_all, publications))
        elif self._state is OPEN and not (self.congested_since and self._is_full()):
            self.spoke_at = self.services.now()
            for publication in publications:
                self._write(publication)

    def _write(self, publication: Publication) -> None:
        try:
            encoded = publication.encoded.get(self._shared)
            if encoded is None:
                encoded = self.wire.publication(self.client, publication)
            self.client.write(encoded)
        except Exception as exc:  # noqa: BLE001 - a mistake of ours costs this connection alone
            self._broken(exc)

    def on_join(self, channel: str, member: Member) -> None:
        """Somebody came."""
        self.wire.joined(self, channel, member)

    def on_leave(self, channel: str, member: Member) -> None:
        """Somebody went."""
        self.wire.left(self, channel, member)

    def on_gap(self, channel: str) -> None:
        """Publications may have been missed."""
        self.wire.gap(self, channel)

    def on_channel_closed(self, channel: str) -> None:  # noqa: ARG002 - whichever it was
        """The channel was taken away: the connection that was in it ends."""
        self.close(CloseCode.CHANNEL_CLOSED, "channel closed")
