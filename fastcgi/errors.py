"""What can go wrong between us and a FastCGI application, as one tree.

Every error says what happened, carries its numbers as attributes, and knows whether the script
may have run: that decides whether the request may be sent again. No message holds anything that
came from a client or from a script; what the script wrote to STDERR is in `stderr`, for the log.
"""

from enum import Enum
from typing import ClassVar


class Executed(Enum):
    """Whether the application may have begun to execute the request."""

    NEVER = "never"
    MAYBE = "maybe"


class FastCGIError(Exception):
    """Everything this library raises of its own."""

    executed: Executed = Executed.MAYBE
    #: What the script wrote to STDERR before this happened, capped like in a response.
    stderr: bytes = b""


class LocalProtocolError(FastCGIError):
    """Our own mistake: asked for something that FastCGI cannot carry or not now."""

    executed = Executed.NEVER


class RemoteProtocolError(FastCGIError):
    """The peer broke the protocol; its connection must be closed, never used again.

    `found` is the number that was out of place, None where there is none.
    """

    def __init__(self, reason: str, found: int | None = None) -> None:
        super().__init__(reason if found is None else f"{reason}: {found}")
        self.reason, self.found = reason, found


class MalformedResponseError(RemoteProtocolError):
    """The framing is sound, but what the script wrote is not a CGI response.

    `found` is the number of the line in the head, or the limit that was passed.
    """


class ResponseTooLargeError(FastCGIError):
    """The body has more bytes than the limit; exactly the limit would have been taken."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the response body is larger than {limit} bytes")
        self.limit = limit


class UpstreamError(FastCGIError):
    """The application spoke proper FastCGI, or left, without answering the request."""


class UpstreamOverloadedError(UpstreamError):
    """END_REQUEST said OVERLOADED or CANT_MPX_CONN; another connection may do better.

    Proof that the script never ran, unless it had already written something.
    """

    def __init__(self, protocol_status: int, executed: Executed) -> None:
        super().__init__(f"the application is overloaded (protocol status {protocol_status})")
        self.protocol_status, self.executed = protocol_status, executed


class UpstreamRefusedError(UpstreamError):
    """END_REQUEST said UNKNOWN_ROLE or a protocol status the specification does not know."""

    def __init__(self, protocol_status: int, executed: Executed) -> None:
        super().__init__(f"the application refused the request (protocol status {protocol_status})")
        self.protocol_status, self.executed = protocol_status, executed


class UpstreamDiedError(UpstreamError):
    """The connection ended before the response did.

    `bytes_seen` counts what had come of this response. Zero is no proof that the script did not
    run; whoever holds such a proof passes `executed`.
    """

    def __init__(self, bytes_seen: int, executed: Executed = Executed.MAYBE) -> None:
        super().__init__(f"the connection ended after {bytes_seen} bytes, before the response did")
        self.bytes_seen, self.executed = bytes_seen, executed


class PoolError(FastCGIError):
    """The pool did not get as far as sending the request."""

    executed = Executed.NEVER


class QueueFullError(PoolError):
    """The waiting line is full; the caller should shed load, not retry at once."""

    def __init__(self, waiting: int, limit: int) -> None:
        super().__init__(f"{waiting} requests waiting, limit {limit}")
        self.waiting, self.limit = waiting, limit


class QueueTimeoutError(PoolError):
    """No connection became free in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"waited {seconds:g} s for a connection")
        self.seconds = seconds


class PoolClosedError(PoolError):
    """The pool is draining or closed and takes no more requests."""

    def __init__(self) -> None:
        super().__init__("the pool is closed")


class ConnectError(FastCGIError):
    """No connection to `address`; `reason` is the system's word for it."""

    executed = Executed.NEVER
    _what: ClassVar[str] = "cannot connect to"

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"{self._what} {address}: {reason}")
        self.address, self.reason = address, reason


class UpstreamUnavailableError(ConnectError):
    """Nobody listens there, and nobody began to within the time we keep requests waiting."""

    _what = "nobody answers at"


class AddressForbiddenError(ConnectError):
    """We may not open the socket: a mistake of configuration that waiting does not cure."""

    _what = "not permitted to open"


class DeadlineError(FastCGIError):
    """The request was sent, at least in part, and its time was up; the script may run on."""

    _what: ClassVar[str] = "no progress"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"{self._what} within {seconds:g} s")
        self.seconds = seconds


class RequestTimeoutError(DeadlineError):
    """The response was not complete in time."""

    _what = "no complete response"


class WriteTimeoutError(DeadlineError):
    """The peer did not take the request in time."""

    _what = "the application did not read the request"


class ReceiverError(FastCGIError):
    """Our own receiver of the body raised; the event loop's handler was told what."""

    def __init__(self) -> None:
        super().__init__("the receiver of the body failed")
