"""What others publish with PUBLISH: SUBSCRIBE on the first subscriber, UNSUBSCRIBE after the last.

Every worker listens for itself, on one connection a source, and delivers to its own subscribers;
nothing is kept. The name in Redis is `prefix` and the channel. It is only ever a name: nothing a
client chooses becomes a pattern.

While the server is away, subscribers stay; when it is back, everything is subscribed to again and
they are told of the possible gap.
"""

from typing import Final

import structlog

from gateway.channels.publication import BINARY_TYPE, TEXT_TYPE, Message, is_utf8
from gateway.channels.publishing import Source
from gateway.channels.service import ChannelService
from gateway.config.services import RedisSource as Settings
from gateway.errors import BrokerUnavailableError
from gateway.logs import Throttle
from gateway.remote.patience import patience
from gateway.remote.redis import open_server
from gateway.remote.redis_subscriptions import Subscriptions
from gateway.routing.patterns import Pattern

log: Final = structlog.get_logger()

_CONFIRM: Final = 3.0
_MAX_BYTES: Final = 64 * 1024 * 1024


class RedisSource:
    """Fulfils `channels.joining.Feed`. `start`, then `stop`; made where the event loop runs."""

    def __init__(
        self, settings: Settings, channels: ChannelService, *, ping_interval: float = 5.0
    ) -> None:
        self._match = Pattern(settings.match)
        self._prefix = settings.prefix.encode()
        self._channels = channels
        self._wanted: dict[bytes, str] = {}
        self._oversized = Throttle()
        self._subscriptions = Subscriptions(
            open_server(settings.url).ear,
            on_message=self._on_message,
            on_up=self._on_up,
            on_down=lambda: None,
            ping_interval=ping_interval,
        )

    @property
    def ready(self) -> bool:
        """Whether everything that is wanted is listened to."""
        return self._subscriptions.ready

    def start(self) -> None:
        """Connect in the background, and again after every loss."""
        self._subscriptions.start()

    async def stop(self) -> None:
        """Hear nothing any more. Idempotent."""
        await self._subscriptions.stop()

    async def want(self, channel: str) -> None:
        """Listen before the subscriber is let in; at once when the server is away."""
        if not self._match.matches(channel):
            return
        name = self._prefix + channel.encode()
        self._wanted[name] = channel
        if self._subscriptions.listens(name):
            return
        try:
            async with patience(_CONFIRM):
                await self._subscriptions.want(name)
        except (BrokerUnavailableError, TimeoutError):
            return  # it stays wanted; when the server is back the channel is told of the gap

    def unwant(self, channel: str) -> None:
        """The last subscriber of this worker has left."""
        name = self._prefix + channel.encode()
        if self._wanted.pop(name, None) is not None:
            self._subscriptions.unwant(name)

    def _on_message(self, name: bytes, data: bytes) -> None:
        channel = self._wanted.get(name)
        if channel is None:
            return
        if len(data) > _MAX_BYTES:
            if self._oversized.allows():
                log.warning("message dropped", bytes=len(data), **self._oversized.taken())
            return
        content_type = TEXT_TYPE if is_utf8(data) else BINARY_TYPE
        self._channels.publish_here(channel, Message(data, content_type), source=Source.REDIS)

    def _on_up(self) -> None:
        for channel in tuple(self._wanted.values()):
            self._channels.on_gap(channel)
