"""Everybody's only door to the channels of this worker.

Publishing, joining, leaving and asking all come through here: names and rules are checked, the
broker is asked, and what the broker sends is delivered to the subscribers of this worker.
Where the broker lives in this process, `publish` and `join` run to their end without giving up
the event loop.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from .broker import Abilities, Broker, ChannelRules, ChannelState, Member, Page
from .joining import Authorizer, Feed, Joining
from .policy import Policies
from .publication import NOWHERE, Message, Position, Publication, kind_of
from .publishing import Publisher, Source
from .resume import Joined
from .subscriber import Subscriber
from .subscriptions import Subscriptions


class ChannelService(Publisher):
    """The channels, as this worker's sessions, API and sources use them.

    It is the broker's Receiver. Raises the errors of `gateway.errors`: ChannelNameError from
    everything that takes a name, BrokerUnavailableError from everything that reaches out.
    """

    def __init__(
        self,
        broker: Broker,
        policies: Policies | None = None,
        *,
        authorizer: Authorizer | None = None,
        feeds: tuple[Feed, ...] = (),
    ) -> None:
        super().__init__(broker, policies)
        self.answer: Callable[[bytes], Awaitable[bytes]] | None = None
        """Answers what other workers ask about connections held here."""
        self.deliveries = 0
        self._subscriptions = Subscriptions()
        self.changes = self._subscriptions.changes
        """To be counted up by a subscriber of which something changes; see its `lane`."""
        self._joining = Joining(
            broker, self._subscriptions, authorizer, feeds, lambda: self.policies
        )

    # Life

    @property
    def ready(self) -> bool:
        """Whether the broker can be reached."""
        return self._broker.ready

    @property
    def node(self) -> str:
        """The name of this worker's life; its connections' ids begin with it."""
        return self._broker.node

    @property
    def abilities(self) -> Abilities:
        """What the broker can do."""
        return self._broker.abilities

    @property
    def subscriptions(self) -> int:
        """How many subscriptions this worker holds."""
        return self._subscriptions.count

    @property
    def channels(self) -> int:
        """How many channels have subscribers in this worker."""
        return len(self._subscriptions)

    async def start(self) -> None:
        """Connect the broker; where it is away, it goes on trying in the background."""
        await self._broker.start(self)

    async def stop(self) -> None:
        """Leave in order. Idempotent."""
        await self._joining.stop()
        await self._broker.stop()

    def add_feed(self, feed: Feed) -> None:
        """Ask this feed as well, for every channel that is joined from now on."""
        self._joining.feeds += (feed,)

    # Publishing

    def publish_here(self, channel: str, message: Message, *, source: Source) -> int:
        """Deliver to the subscribers of this worker alone; how many there were.

        For a feed that every worker hears for itself. Nothing is kept, nothing raised: text that
        is not UTF-8 goes out as binary.
        """
        kind = kind_of(message.data, message.content_type)
        self.publications[source] += 1
        return self._pass_on(Publication(channel, message, kind, NOWHERE))

    # Channels

    def rules(self, channel: str) -> ChannelRules:
        """What the configuration says of the channel."""
        return self.policies.of(channel).rules

    async def open(self, channel: str) -> bool:
        """Open the channel until it is closed; True when it was not open before."""
        return await self._broker.open(channel, self.rules(channel))

    async def close(self, channel: str) -> bool:
        """Close it, forget its history, tell its subscribers; False when there was none."""
        self.policies.of(channel)
        return await self._broker.close(channel)

    async def state(self, channel: str) -> ChannelState | None:
        """The channel as it stands, None when it does not exist."""
        self.policies.of(channel)
        return await self._broker.state(channel)

    async def exists(self, channel: str) -> bool:
        """Whether there is such a channel now."""
        return await self.state(channel) is not None

    async def list(
        self, match: str, *, limit: int = 100, after: str = ""
    ) -> tuple[tuple[ChannelState, ...], str | None]:
        """Channels whose name matches the pattern, by name; and the cursor of the next page."""
        return await self._broker.list(match, limit=limit, after=after)

    async def history(
        self, channel: str, *, since: Position | None = None, limit: int | None = None
    ) -> Page:
        """With `since`: what followed it, whole or not at all. Without: the newest `limit`."""
        rules = self.rules(channel)
        if not rules.keeps_history:
            return Page((), NOWHERE, recovered=since is None)
        return await self._broker.history(channel, rules, since=since, limit=limit)

    async def presence(self, channel: str) -> tuple[Member, ...]:
        """Who is there; nobody is shown where the channel's presence is off."""
        if not self.rules(channel).presence:
            return ()
        return await self._broker.presence(channel)

    # Joining and leaving

    async def join(
        self,
        subscriber: Subscriber,
        channel: str,
        *,
        since: Position | None = None,
        authorize: bool = True,
    ) -> Joined:
        """Let the subscriber in; nothing published from the return on is missed.

        What the result holds must be handed on before anything else is: await this directly, and
        do not give up the event loop in between. Joining again is harmless, and with `since` it
        answers what was missed before the first join, or in a gap.

        Raises ChannelForbiddenError (PHP said no), ChannelNotFoundError, ChannelFullError,
        SubscriberGoneError (it left meanwhile). After an error the subscriber is as it was.
        """
        policy = self.policies.of(channel)
        if policy.authorization is not None and not authorize:
            policy = replace(policy, authorization=None)
        return await self._joining.join(subscriber, channel, policy, since)

    async def leave(self, subscriber: Subscriber, channel: str) -> bool:
        """Take the subscriber out, at once for this worker; False when it was not in.

        A join that is under way ends with SubscriberGoneError.
        """
        return await self._joining.leave(subscriber, channel)

    async def leave_all(self, subscriber: Subscriber) -> None:
        """Take the subscriber out of everything, at once for this worker."""
        await self._joining.leave_all(subscriber)

    def joined(self, subscriber: Subscriber) -> tuple[str, ...]:
        """The channels a subscriber is in, in the order of joining."""
        return tuple([audience.channel for audience in self._subscriptions.of(subscriber)])

    # What the broker tells

    def on_publication(self, publication: Publication) -> None:
        """Deliver to every local subscriber of its channel."""
        self._pass_on(publication)

    def on_join(self, channel: str, member: Member) -> None:
        """Tell the local members, but not the one who came."""
        audience = self._subscriptions.find(channel)
        for subscriber in audience.members() if audience is not None else ():
            if subscriber.id != member.id:
                subscriber.on_join(channel, member)

    def on_leave(self, channel: str, member: Member) -> None:
        """Tell the local members, but not the one who went."""
        audience = self._subscriptions.find(channel)
        for subscriber in audience.members() if audience is not None else ():
            if subscriber.id != member.id:
                subscriber.on_leave(channel, member)

    def on_closed(self, channel: str) -> None:
        """Take everybody out and tell them; joins that are under way begin again."""
        audience = self._subscriptions.find(channel)
        if audience is None:
            return
        members = self._subscriptions.dissolve(audience)
        self._joining.release(audience)
        for subscriber in members:
            self._joining.went(subscriber, channel)
            subscriber.on_channel_closed(channel)

    def on_gap(self, channel: str | None) -> None:
        """Tell those in the channel (None: in any) that they may have missed something."""
        if channel is None:
            for audience in self._subscriptions.audiences():
                audience.lose(outage=True)
            return
        found = self._subscriptions.find(channel)
        if found is not None:
            found.lose(outage=True)

    async def on_question(self, question: bytes) -> bytes:
        """Another worker asks about a connection held here."""
        return await self.answer(question) if self.answer is not None else b""

    async def ask(self, node: str, question: bytes) -> bytes:
        """Put a question to another worker; NodeGoneError when there is none of that name."""
        return await self._broker.ask(node, question)

    def _pass_on(self, publication: Publication) -> int:
        audience = self._subscriptions.find(publication.channel)
        if audience is None:
            return 0
        count = audience.pass_on(publication)
        self.deliveries += count
        return count
