"""An asyncio FastCGI client for php-fpm; standard library only.

This much needs no I/O: requests as bytes (`params`, `records`), responses from bytes (`protocol`,
`response`), the application's side for tests and tools (`responder`), and the error tree.
"""

from .address import Address, parse_address
from .errors import (
    AddressForbiddenError,
    ConnectError,
    DeadlineError,
    Executed,
    FastCGIError,
    LocalProtocolError,
    MalformedResponseError,
    PoolClosedError,
    PoolError,
    QueueFullError,
    QueueTimeoutError,
    RemoteProtocolError,
    RequestTimeoutError,
    ResponseTooLargeError,
    UpstreamDiedError,
    UpstreamError,
    UpstreamOverloadedError,
    UpstreamRefusedError,
    UpstreamUnavailableError,
    WriteTimeoutError,
)
from .exchange import Exchange
from .limits import Limits
from .pool import Pool
from .protocol import ResponseReader
from .response import Response

__all__ = [
    "Address",
    "AddressForbiddenError",
    "ConnectError",
    "DeadlineError",
    "Exchange",
    "Executed",
    "FastCGIError",
    "Limits",
    "LocalProtocolError",
    "MalformedResponseError",
    "Pool",
    "PoolClosedError",
    "PoolError",
    "QueueFullError",
    "QueueTimeoutError",
    "RemoteProtocolError",
    "RequestTimeoutError",
    "Response",
    "ResponseReader",
    "ResponseTooLargeError",
    "UpstreamDiedError",
    "UpstreamError",
    "UpstreamOverloadedError",
    "UpstreamRefusedError",
    "UpstreamUnavailableError",
    "WriteTimeoutError",
    "parse_address",
]
