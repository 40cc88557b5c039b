"""From the path of a handshake to the route it is for.

A destination holds what can be worked out once for a route, so that neither a handshake nor a
frame has to parse a template.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway.config.client import Client
from gateway.config.model import Config
from gateway.config.routes import Route

from .channels import ChannelTemplate
from .paths import PathTemplate, decode_path
from .patterns import PatternSet
from .rules import MessageRules


class Destination:
    """A route, ready for use.

    `rules` is None where one script answers every message. `may_subscribe` and `may_publish`
    judge the channels a client names.
    """

    __slots__ = ("channels", "client", "may_publish", "may_subscribe", "path", "route", "rules")

    def __init__(self, route: Route, client: Client) -> None:
        self.route: Final = route
        self.client: Final = client
        self.path: Final = PathTemplate(route.path)
        self.channels: Final = tuple(ChannelTemplate(text) for text in route.subscribe)
        self.rules: Final = MessageRules(route.messages) if route.messages else None
        self.may_subscribe: Final = PatternSet(route.client_subscribe)
        self.may_publish: Final = PatternSet(route.client_publish)


@dataclass(frozen=True, slots=True)
class Match:
    """Where a handshake goes, and what its path said."""

    destination: Destination
    variables: dict[str, str]


class Router:
    """The routes in the order of the file; the first that matches counts."""

    def __init__(self, destinations: Iterable[Destination]) -> None:
        self.destinations: Final = tuple(destinations)
        # Most routes have no variables: what their paths lead to is found once.
        paths = [destination.path.text for destination in self.destinations]
        self._known: Final = {path: self._find(path) for path in paths}

    @classmethod
    def of(cls, config: Config) -> "Router":
        """The router of a configuration."""
        return cls(Destination(route, config.client_of(route)) for route in config.routes)

    def match(self, path: str) -> Match | None:
        """The destination of a path as it came on the wire, None where there is none (404)."""
        return self._known.get(path) or self._find(path)

    def _find(self, path: str) -> Match | None:
        segments = decode_path(path)
        if segments is None:
            return None
        for destination in self.destinations:
            variables = destination.path.match(segments)
            if variables is not None:
                return Match(destination, variables)
        return None
