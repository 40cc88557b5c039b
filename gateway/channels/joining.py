"""How subscribers come into a channel and leave it.

A join asks PHP (where the policy says so), the feeds and the broker, holds what is published
meanwhile, and lets the subscriber in at one moment. Whoever leaves, or is cancelled, while it is
joining leaves nothing behind.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from gateway.errors import (
    BrokerUnavailableError,
    ChannelError,
    ChannelForbiddenError,
    SubscriberGoneError,
)
from gateway.tasks import TaskSet

from .audience import Attempt, Audience
from .broker import Broker, ChannelRules, Member
from .policy import Authorization, ChannelPolicy, Policies, Witness
from .publication import Position
from .resume import Joined, merge
from .subscriber import Subscriber
from .subscriptions import Subscriptions

_JOIN_TRIES: Final = 20
_NOT_LET_IN: Final = (ChannelError, SubscriberGoneError)
"""Errors after which the broker holds nothing of a join, or has been told so."""
_UNDOING_TIMEOUT: Final = 5.0


class Authorizer(Protocol):
    """Asks PHP whether a subscriber may join a channel."""

    async def authorize(
        self, subscriber: Subscriber, channel: str, authorization: Authorization
    ) -> None:
        """Return when it may; ChannelForbiddenError when not, or when PHP gave no answer."""


class Feed(Protocol):
    """Somewhere else that publishes: subscribed to on the first local subscriber of a channel."""

    async def want(self, channel: str) -> None:
        """Somebody is joining: from the return on nothing is missed. May be called again.

        While the feed is away it returns, and `ChannelService.on_gap` tells what was missed.
        A channel that is none of the feed's affair is ignored.
        """

    def unwant(self, channel: str) -> None:
        """The last subscriber of this worker has left."""


class Joining:
    """The way in and out, for `ChannelService` alone; see there for the contract and the errors."""

    def __init__(
        self,
        broker: Broker,
        subscriptions: Subscriptions,
        authorizer: Authorizer | None,
        feeds: tuple[Feed, ...],
        policies: Callable[[], Policies],
    ) -> None:
        self.authorizer = authorizer
        self.feeds = feeds
        self._broker = broker
        self._subscriptions = subscriptions
        self._policies = policies
        self._undoing = TaskSet()

    async def stop(self) -> None:
        """Wait a moment for what is being undone."""
        await self._undoing.join(_UNDOING_TIMEOUT)
        await self._undoing.close()

    async def join(
        self,
        subscriber: Subscriber,
        channel: str,
        policy: ChannelPolicy,
        since: Position | None,
    ) -> Joined:
        """As ChannelService.join, by this policy."""
        audience, attempt = self._subscriptions.begin(channel, subscriber)
        try:
            if policy.authorization is not None:
                await self._authorize(subscriber, channel, policy.authorization)
            joined = await self._negotiate(attempt, channel, policy.rules, since)
        except (Exception, asyncio.CancelledError) as error:
            self._subscriptions.end(audience, attempt)
            self._withdraw(audience, subscriber, refused=isinstance(error, _NOT_LET_IN))
            raise
        self._subscriptions.end(audience, attempt)
        admitted = self._admit(audience, subscriber, joined, since, policy.witness)
        return admitted.without(subscriber.id)

    async def leave(self, subscriber: Subscriber, channel: str) -> bool:
        """As ChannelService.leave."""
        audience = self._subscriptions.find(channel)
        if audience is None:
            return False
        was_in = subscriber in audience
        if not self._subscriptions.remove(audience, subscriber):
            return False
        self.release(audience)
        if was_in:
            self.went(subscriber, channel)
        await self._broker.leave(channel, _member(subscriber))
        return True

    async def leave_all(self, subscriber: Subscriber) -> None:
        """As ChannelService.leave_all."""
        subscriptions = self._subscriptions
        was_in = subscriptions.of(subscriber)
        audiences = {*was_in, *subscriptions.joining(subscriber)}
        for audience in audiences:
            subscriptions.remove(audience, subscriber)
            self.release(audience)
        for audience in was_in:
            self.went(subscriber, audience.channel)
        member = _member(subscriber)
        if len(audiences) == 1:
            await self._broker.leave(audiences.pop().channel, member)
        elif audiences:
            await asyncio.gather(*(self._broker.leave(each.channel, member) for each in audiences))

    async def _authorize(
        self, subscriber: Subscriber, channel: str, authorization: Authorization
    ) -> None:
        if self.authorizer is None:
            raise ChannelForbiddenError(channel)
        await self.authorizer.authorize(subscriber, channel, authorization)

    async def _negotiate(
        self, attempt: Attempt, channel: str, rules: ChannelRules, since: Position | None
    ) -> Joined:
        """Ask the broker until its answers hold at the moment they are used."""
        member = _member(attempt.subscriber)
        for _ in range(_JOIN_TRIES):
            attempt.restart()
            for feed in self.feeds:
                await feed.want(channel)
            if attempt.abandoned:
                raise SubscriberGoneError(channel)
            position = await self._broker.join(channel, member, rules)
            page = None
            if since is not None and position.epoch:
                page = await self._broker.history(channel, rules, since=since, limit=None)
            if attempt.abandoned:
                raise SubscriberGoneError(channel)
            of_one_life = page is None or page.position.epoch == position.epoch
            if of_one_life and not attempt.stale:
                return merge(position, page, attempt.arrived(), since)
        raise BrokerUnavailableError(f"{channel}: the channel broke {_JOIN_TRIES} times at a join")

    def _admit(
        self,
        audience: Audience,
        subscriber: Subscriber,
        joined: Joined,
        since: Position | None,
        witness: Witness | None,
    ) -> Joined:
        admitted = audience.admitted_at(subscriber)
        if admitted is None:
            audience.admit(subscriber, joined.position)
            self._subscriptions.add(audience, subscriber)
            if witness is not None:
                witness.came(subscriber, audience.channel)
            return joined
        here = audience.here(joined.position)
        return Joined(here) if since is None else joined.until(admitted, here)

    def _withdraw(self, audience: Audience, subscriber: Subscriber, *, refused: bool) -> None:
        """A join failed: nothing of it may remain, unless another one of the same pair stands."""
        if subscriber not in audience and audience not in self._subscriptions.joining(subscriber):
            self.release(audience)
            if not refused:
                # The broker may have let it in before the answer was lost.
                leaving = self._broker.leave(audience.channel, _member(subscriber))
                self._undoing.spawn(leaving, name="undo a join")

    def went(self, subscriber: Subscriber, channel: str) -> None:
        """Tell whoever is to know that the subscriber is out of the channel."""
        witness = self._policies().witness(channel)
        if witness is not None:
            witness.went(subscriber, channel)

    def release(self, audience: Audience) -> None:
        """Forget an audience that is deserted; the feeds need not serve it any more."""
        if self._subscriptions.release(audience):
            for feed in self.feeds:
                feed.unwant(audience.channel)


def _member(subscriber: Subscriber) -> Member:
    return Member(subscriber.id, subscriber.user)
