"""What a client may do, and how it is kept alive."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from .fields import (
    CountOrOff,
    DurationOrOff,
    OneOrMany,
    PositiveDuration,
    RateOrOff,
    RateValue,
    Section,
    Size,
    Switch,
    Text,
)
from .units import KiB, MiB, Rate, shown

_ORIGIN: Final = re.compile(
    r"https?://(?:\*\.)?(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:]+\])(?::\d{1,5}|:\*)?",
    re.ASCII,
)


def _origin(value: str) -> str:
    if value in {"*", "same-origin", "null"}:
        return value
    lowered = value.lower().rstrip("/")
    if not _ORIGIN.fullmatch(lowered):
        raise ValueError(
            'expected same-origin, "*", or an origin such as "https://app.example.com" or '
            f'"https://*.example.com", got {shown(value)}'
        )
    return lowered


class Client(Section):
    """Limits and times of one client; the defaults of every route, which may override each."""

    allowed_origins: Annotated[tuple[Annotated[Text, AfterValidator(_origin)], ...], OneOrMany] = (
        Field(
            default=("same-origin",),
            description="Web pages that may connect: `same-origin`, `*`, origins such as "
            "`https://app.example.com` or `https://*.example.com`. A client that sends no Origin "
            "header is not a browser and passes.",
        )
    )
    ping_interval: DurationOrOff = Field(
        default=25.0, description="A ping is sent after so long without traffic."
    )
    idle_timeout: DurationOrOff = Field(
        default=None,
        description="Close after so long without a message either way; pongs do not count.",
    )
    pong_timeout: PositiveDuration = Field(
        default=10.0, description="A client that does not answer a ping for so long is gone."
    )
    handshake_timeout: PositiveDuration = Field(
        default=10.0, description="The whole handshake must have arrived within this time."
    )
    longpoll_wait: PositiveDuration = Field(
        default=25.0, description="A long poll without news answers 304 after so long."
    )
    max_message: Size = Field(
        default=1 * MiB,
        description="The largest message of a client, inclusive; a larger one closes with 1009. "
        "A message has at most 1024 fragments and 30 seconds from first to last.",
    )
    send_buffer: Size = Field(
        default=256 * KiB,
        description="A client that has more than this unread when the next message comes, or "
        "takes less than this in 10 seconds while more waits, is closed with 1013. One message "
        "may be larger.",
    )
    message_rate: RateOrOff = Field(
        default=None,
        description="Messages of one client, such as `50/s`, burst the same; beyond it an error "
        "frame 429, then close 1008.",
    )
    max_connections: CountOrOff = Field(
        default=None,
        description="Connections of the whole gateway; beyond it handshakes get 503 with "
        "Retry-After.",
    )
    max_connections_per_ip: CountOrOff = Field(
        default=None, description="Connections from one address; beyond it handshakes get 429."
    )
    disconnect_rate: RateValue = Field(
        default=Rate(100, 1.0),
        description="How fast `disconnect` events go to PHP, from a queue of their own.",
    )
    compression: Switch = Field(
        default=False, description="permessage-deflate, where the client offers it."
    )
