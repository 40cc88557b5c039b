"""What the internal listener needs of the rest of the gateway."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from aiohttp import web

from gateway.channels.service import ChannelService
from gateway.metrics import Snapshot


class Connections(Protocol):
    """Any connection of the whole gateway, wherever it is held.

    Every method raises ConnectionIdError for what cannot be an id and ConnectionGoneError for a
    connection that is not, or no longer, open.
    """

    async def state(self, connection_id: str) -> dict[str, object]:
        """What is known of it, as JSON can hold it."""

    async def push(self, connection_id: str, payload: bytes, content_type: str) -> None:
        """Send it one message; binary or text by the Content-Type."""

    async def close(self, connection_id: str, code: int, reason: str) -> None:
        """Close it."""

    async def subscribe(self, connection_id: str, channel: str) -> None:
        """Let it join a channel; the errors of `ChannelService.join`."""

    async def unsubscribe(self, connection_id: str, channel: str) -> None:
        """Take it out of a channel; one it is not in changes nothing."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """`reasons` say why the gateway cannot serve; `degraded` says what it serves without."""

    reasons: Sequence[str] = ()
    degraded: Sequence[str] = ()

    @property
    def ready(self) -> bool:
        """Whether it can serve."""
        return not self.reasons

    def described(self) -> dict[str, object]:
        """All of it, as JSON can hold it."""
        return {
            "ready": self.ready,
            "reasons": list(self.reasons),
            "degraded": list(self.degraded),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServices:
    """Everything behind the API.

    `readiness` says whether the gateway can serve. `status` gives the facts that are no metrics
    (version, uptime, workers, routes, broker) as JSON can hold them, and `numbers` the metrics of
    the whole gateway; both may ask other workers, and answer in bounded time even when one of
    them is silent. Without an `api_key` every call is permitted.
    """

    channels: ChannelService
    connections: Connections
    readiness: Callable[[], Readiness]
    status: Callable[[], Awaitable[dict[str, object]]]
    numbers: Callable[[], Awaitable[Snapshot]]
    api_key: str = ""
    max_body: int = 8 * 1024 * 1024


class Current:
    """The services in use; a reload puts others in their place."""

    __slots__ = ("services",)

    def __init__(self, services: ApiServices) -> None:
        self.services = services


CURRENT: Final = web.AppKey("CURRENT", Current)


def services_of(request: web.Request) -> ApiServices:
    """The services in use at this moment."""
    return request.app[CURRENT].services
