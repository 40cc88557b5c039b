"""The sources of the configuration, each fed into the channels of one worker."""

import importlib
from typing import Any, Protocol

from gateway.channels.joining import Feed
from gateway.channels.service import ChannelService
from gateway.config.model import Config
from gateway.config.services import PostgresSource


class RunningFeed(Feed, Protocol):
    """A feed with a life of its own."""

    def start(self) -> None:
        """Connect in the background."""

    async def stop(self) -> None:
        """Hear nothing any more."""


def feeds(config: Config, channels: ChannelService) -> list[RunningFeed]:
    """A feed for each source; ConfigurationError where its client library is missing."""
    return [_feed(config, settings, channels) for settings in config.sources]


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
