"""The sources of the configuration, each fed into the channels of one worker."""

import importlib
from collections.abc import Sequence
from typing import Any, Protocol

from gateway.channels.joining import Feed
from gateway.channels.service import ChannelService
from gateway.config.model import Config
from gateway.config.services import PostgresSource
from gateway.metrics import Metrics


class RunningFeed(Feed, Protocol):
    """A feed with a life of its own."""

    @property
    def ready(self) -> bool:
        """Whether everything that is wanted is listened to."""

    def start(self) -> None:
        """Connect in the background."""

    async def stop(self) -> None:
        """Hear nothing any more."""


class Sources:
    """All sources of one worker; ConfigurationError where a client library is missing.

    The gateway serves without them. One that is away is named in `degraded`.
    """

    def __init__(self, config: Config, channels: ChannelService) -> None:
        self._feeds = [
            (source.type, source.match, _feed(config, source, channels))
            for source in config.sources
        ]
        self._channels = channels

    def start(self) -> None:
        """Feed the channels from now on."""
        for _, _, feed in self._feeds:
            self._channels.add_feed(feed)
            feed.start()

    async def stop(self) -> None:
        """Hear nothing any more. Idempotent."""
        for _, _, feed in self._feeds:
            await feed.stop()

    def watch(self, metrics: Metrics) -> None:
        """Let the metrics read which of them are away."""
        for kind, match, _ in self._feeds:
            series = metrics.source_away.labelled(kind, match)
            series.read = lambda kind=kind, match=match: self._away(kind, match)  # type: ignore[misc]

    @property
    def degraded(self) -> Sequence[str]:
        """A sentence for each source that this worker cannot hear now."""
        return [
            f"the source {kind} {match} cannot be heard"
            for kind, match, feed in self._feeds
            if not feed.ready
        ]

    def _away(self, kind: str, match: str) -> int:
        return sum(not feed.ready for *labels, feed in self._feeds if labels == [kind, match])


def _feed(config: Config, settings: Any, channels: ChannelService) -> RunningFeed:
    # The modules are loaded for those who use them: each needs an optional library.
    module: Any = importlib.import_module(f"gateway.sources.{settings.type}")
    if isinstance(settings, PostgresSource):
        database = config.databases[settings.dsn]
        feed: RunningFeed = module.PostgresSource(
            settings, database.listen_dsn or database.dsn, channels
        )
    else:
        feed = module.RedisSource(settings, channels)
    return feed
