"""The php-fpm pools that frames are sent to."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from .fields import (
    Address,
    Count,
    Duration,
    OneOrMany,
    PositiveDuration,
    Section,
    Size,
    SizeOrZero,
    Switch,
    Text,
)
from .scripts import check_document_root, check_param
from .units import KiB, MiB


def _keepalive_by_address(data: dict[str, Any]) -> bool:
    # php-fpm never sets TCP_NODELAY: a kept TCP connection stalls on large responses.
    return all(address.is_unix for address in data.get("address", ()))


class Upstream(Section):
    """One php-fpm pool: where it is, what of it may be used, how long to wait for it."""

    address: Annotated[tuple[Address, ...], OneOrMany] = Field(
        min_length=1,
        description="`unix:/path`, `host:port`, or a list of them: the least busy one is taken.",
    )
    document_root: Annotated[Text, AfterValidator(check_document_root)] = Field(
        description="The absolute path below which php-fpm finds the scripts."
    )
    max_connections: Count = Field(
        default=4,
        description="Connections open to this upstream, all workers together. Keep below "
        "pm.max_children: an idle kept connection still occupies a php-fpm child.",
    )
    keepalive: Switch = Field(
        default_factory=_keepalive_by_address,
        description="Whether a connection carries several requests. Default: on for unix "
        "sockets, off for TCP.",
    )
    keepalive_max_body: SizeOrZero = Field(
        default=8 * KiB, description="A frame larger than this uses a connection once."
    )
    idle_timeout: Duration = Field(
        default=1.0,
        description="An idle kept connection is closed after so long: it occupies a php-fpm "
        "child until then.",
    )
    connect_timeout: PositiveDuration = Field(
        default=1.0, description="How long one attempt to connect may take."
    )
    queue_size: Count = Field(
        default=10_000, description="Frames that may wait for a connection; more get 503."
    )
    queue_timeout: PositiveDuration = Field(
        default=10.0, description="How long a frame may wait for a connection."
    )
    retry_for: Duration = Field(
        default=5.0, description="How long frames are kept waiting while php-fpm restarts."
    )
    timeout: PositiveDuration = Field(
        default=30.0, description="One request, from its first byte to the answer's last."
    )
    max_response: Size = Field(
        default=8 * MiB, description="The largest answer that is accepted from PHP."
    )
    params: dict[Annotated[str, AfterValidator(check_param)], Text] = Field(
        default_factory=dict,
        repr=False,
        description="Further FastCGI params that every request to this upstream carries.",
    )
