"""Who may join and publish, and how what was missed reaches a session.

A channel is joined by the route (templates), by PHP (effects), by the API, or by the client
itself. PHP's word and the API's count as permission; the others are checked.
"""

from typing import TYPE_CHECKING, Final

from fastcgi import FastCGIError
from gateway.channels.policy import Authorization
from gateway.channels.publication import Position
from gateway.channels.resume import Joined
from gateway.channels.subscriber import Subscriber
from gateway.errors import ChannelForbiddenError, SubscriberGoneError, TooManyJoinedError

from .asking import ask
from .peer import Peer

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.backend.target import Target


MOST_JOINED: Final = 1024
"""Channels that a client may join by itself; what it is let into by others counts too."""

_SUCCESS: Final = range(200, 300)


async def join(session: Peer, channel: str, *, authorize: bool = False) -> None:
    """Let the session in and hand on what it missed; the errors are `ChannelService.join`'s."""
    joined = await let_in(session, channel, None, authorize=authorize)
    session.deliver_all(joined.publications)


async def let_in(session: Peer, channel: str, since: Position | None, *, authorize: bool) -> Joined:
    """Join, unless the client is gone: nobody would take it out of the channel again."""
    if not session.present:
        raise SubscriberGoneError(channel)
    channels = session.services.channels
    joined = await channels.join(session, channel, since=since, authorize=authorize)
    if not session.present:
        await channels.leave(session, channel)
        raise SubscriberGoneError(channel)
    return joined


async def join_as_client(session: Peer, channel: str, since: Position | None) -> Joined:
    """The client asks by itself. Its answer must carry the publications before anything else."""
    permitted = session.route.destination.may_subscribe.matches(channel)
    if not permitted and not session.identity.granted.matches(channel):
        raise ChannelForbiddenError(channel)
    joined = session.services.channels.joined(session)
    if len(joined) >= MOST_JOINED and channel not in joined:
        raise TooManyJoinedError(channel, MOST_JOINED)
    await _permitted(session, "subscribe", session.route.hooks.subscribe, channel, b"{}")
    return await let_in(session, channel, since, authorize=True)


async def may_publish(session: Peer, channel: str, data: bytes) -> None:
    """Return when the client may publish this; ChannelForbiddenError otherwise."""
    if not session.route.destination.may_publish.matches(channel):
        raise ChannelForbiddenError(channel)
    await _permitted(session, "publish", session.route.hooks.publish, channel, data)


async def _permitted(
    session: Peer, event: str, target: "Target | None", channel: str, body: bytes
) -> None:
    """PHP hears the event, where its route wants that, and may refuse with any status but 2xx."""
    if target is None:
        return
    try:
        extra = (("WS_CHANNEL", channel),)
        response = await ask(target, session.identity, event, body, extra)
    except FastCGIError as exc:
        raise ChannelForbiddenError(channel) from exc
    if response.status not in _SUCCESS:
        raise ChannelForbiddenError(channel)


class PhpAuthorizer:
    """Fulfils `channels.service.Authorizer`: asks the script of a channel's `authorize`.

    `target_of` finds the target made for it at start.
    """

    def __init__(self, target_of: "Callable[[Authorization], Target]") -> None:
        self._target_of = target_of

    async def authorize(
        self, subscriber: Subscriber, channel: str, authorization: Authorization
    ) -> None:
        """Return when PHP answers 2xx; ChannelForbiddenError otherwise."""
        identity = subscriber.identity  # type: ignore[attr-defined] # every subscriber is a session
        target = self._target_of(authorization)
        try:
            extra = (("WS_CHANNEL", channel),)
            response = await ask(target, identity, "subscribe", b"{}", extra)
        except FastCGIError as exc:
            raise ChannelForbiddenError(channel) from exc
        if response.status not in _SUCCESS:
            raise ChannelForbiddenError(channel)
