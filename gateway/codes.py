"""Which failure closes or answers with which code; decided here and nowhere else.

A failure has one status (of error frames, handshakes and the API), one type (the word in an error
frame) and one close code (for connections that end because of it). Messages for clients name no
path, no address and nothing that PHP printed.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from fastcgi import errors as fastcgi

from . import errors


class CloseCode(IntEnum):
    """RFC 6455 section 7.4.1 and the range that the contract gives wsgate."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    ABNORMAL = 1006
    INVALID_TEXT = 1007
    POLICY_VIOLATION = 1008
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    TOKEN_EXPIRED = 4401
    FORBIDDEN = 4403
    CONFLICT = 4409
    CHANNEL_CLOSED = 4410


@dataclass(frozen=True, slots=True)
class Failure:
    """What a client is told when something did not work."""

    status: int
    type: str
    message: str
    close: CloseCode = CloseCode.INTERNAL_ERROR


BAD_REQUEST: Final = Failure(400, "bad_request", "the message cannot be used", CloseCode(1008))
UNAUTHORIZED: Final = Failure(401, "unauthorized", "a valid token is needed", CloseCode(4401))
FORBIDDEN: Final = Failure(403, "forbidden", "not permitted", CloseCode(4403))
NOT_FOUND: Final = Failure(404, "not_found", "there is nothing here", CloseCode(1008))
CONFLICT: Final = Failure(409, "conflict", "too many subscribers", CloseCode(4409))
TOO_MANY_JOINED: Final = Failure(
    409, "conflict", "too many channels for one connection", CloseCode(4409)
)
GONE: Final = Failure(410, "gone", "no longer there", CloseCode(4410))
TOO_LARGE: Final = Failure(413, "too_large", "the message is too large", CloseCode(1009))
UNPROCESSABLE: Final = Failure(422, "bad_request", "text must be UTF-8", CloseCode(1007))
RATE_LIMITED: Final = Failure(429, "rate_limited", "too many messages", CloseCode(1008))
INTERNAL: Final = Failure(500, "internal", "the gateway failed", CloseCode(1011))
UPSTREAM_ERROR: Final = Failure(502, "upstream_error", "the application failed")
QUEUE_FULL: Final = Failure(
    503, "queue_full", "the application is busy, try again later", CloseCode(1013)
)
UNAVAILABLE: Final = Failure(
    503, "upstream_unavailable", "the application is not available", CloseCode(1013)
)
BROKER_AWAY: Final = Failure(
    503, "upstream_unavailable", "channels are not available, try again later", CloseCode(1013)
)
TIMEOUT: Final = Failure(
    504, "upstream_timeout", "the application did not answer in time", CloseCode(1011)
)

# The first class of an error's own order of ancestors that stands here decides.
_FAILURES: Final[dict[type[BaseException], Failure]] = {
    fastcgi.QueueFullError: QUEUE_FULL,
    fastcgi.QueueTimeoutError: QUEUE_FULL,
    fastcgi.PoolClosedError: UNAVAILABLE,
    fastcgi.ConnectError: UNAVAILABLE,
    fastcgi.UpstreamOverloadedError: UNAVAILABLE,
    fastcgi.RequestTimeoutError: TIMEOUT,
    fastcgi.WriteTimeoutError: TIMEOUT,
    fastcgi.LocalProtocolError: TOO_LARGE,
    fastcgi.FastCGIError: UPSTREAM_ERROR,
    errors.ReplyError: UPSTREAM_ERROR,
    errors.QueryError: UPSTREAM_ERROR,
    errors.TooManyQueriesError: QUEUE_FULL,
    errors.DatabaseUnavailableError: UNAVAILABLE,
    errors.ChannelNameError: BAD_REQUEST,
    errors.ChannelNotFoundError: NOT_FOUND,
    errors.ChannelFullError: CONFLICT,
    errors.ChannelForbiddenError: FORBIDDEN,
    errors.TooManyJoinedError: TOO_MANY_JOINED,
    errors.ConnectionIdError: NOT_FOUND,
    errors.ConnectionGoneError: GONE,
    errors.NotTextError: UNPROCESSABLE,
    errors.MessageError: BAD_REQUEST,
    errors.BrokerUnavailableError: BROKER_AWAY,
    errors.NodeGoneError: GONE,
    errors.UnsupportedByBrokerError: BAD_REQUEST,
    TimeoutError: TIMEOUT,
}

# What PHP's own status is called; anything else by its hundred.
_TYPES: Final = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    409: "conflict",
    410: "gone",
    413: "too_large",
    429: "rate_limited",
    503: "upstream_unavailable",
    504: "upstream_timeout",
}
_CLOSES: Final = {
    401: CloseCode.TOKEN_EXPIRED,
    403: CloseCode.FORBIDDEN,
    409: CloseCode.CONFLICT,
    413: CloseCode.TOO_BIG,
    503: CloseCode.TRY_AGAIN_LATER,
}


def failure_of(error: BaseException) -> Failure:
    """What a client is told of `error`; INTERNAL for what nobody foresaw."""
    for kind in type(error).__mro__:
        if kind in _FAILURES:
            return _FAILURES[kind]
    return INTERNAL


def failure_of_status(status: int) -> Failure:
    """What a client is told when PHP itself answered with a status that is no success."""
    of_server = status >= 500 or status < 400  # noqa: PLR2004 - the hundreds of HTTP
    kind = _TYPES.get(status, "upstream_error" if of_server else "bad_request")
    default = CloseCode.INTERNAL_ERROR if of_server else CloseCode.POLICY_VIOLATION
    message = "the application failed" if of_server else "the application refused"
    return Failure(status, kind, message, _CLOSES.get(status, default))


def may_be_sent(code: int) -> bool:
    """Whether a close frame of ours may carry the code (RFC 6455 section 7.4)."""
    return code in _SENDABLE or 3000 <= code <= 4999  # noqa: PLR2004 - the registered ranges


_SENDABLE: Final = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013})
