"""The rule for sending a request again.

Safe is what proves that the script never began. A connection that was reset proves nothing, even
with zero bytes received: PHP leaves the empty STDIN record unread while a script runs, so a script
that was killed half way causes the same reset. Once a byte has come back nothing is sent again.
"""

import select
from enum import StrEnum
from typing import Final

from .errors import Executed, FastCGIError, UpstreamDiedError, UpstreamOverloadedError
from .exchange import Exchange

# include/uapi/asm-generic/poll.h: 0x2000 on every Linux but sparc (0x0800). Python has the name
# only where its C library had it.
POLLRDHUP: Final[int] = getattr(select, "POLLRDHUP", 0x2000)

# Overloaded applications are asked this often in all; a permission without proof is used once.
_OVERLOADED_ATTEMPTS: Final = 3
_IDEMPOTENT_ATTEMPTS: Final = 2


class Retry(StrEnum):
    """Why a request may be sent once more: the whole list of proofs, and one permission."""

    # EOF, an error or data was there before anything was sent.
    CHECKOUT = "checkout"
    # The first send was refused, so the peer has not one byte.
    BROKEN_PIPE = "broken_pipe"
    # php-fpm had reached pm.max_requests: it discards what we send and waits for our close.
    HALF_CLOSED = "half_closed"
    # END_REQUEST said so, and nothing had been written.
    OVERLOADED = "overloaded"
    # No proof, but the route permits it.
    IDEMPOTENT = "idempotent"


def judge(exchange: Exchange, error: FastCGIError, *, retired: bool = False) -> Retry | None:
    """Whether `exchange` may be sent again after `error`, and why.

    `retired` says that a unix connection which had served before was closed on one side only. A
    child that dies closes both sides; php-fpm closes one when it will read no more requests.
    """
    if isinstance(error, UpstreamOverloadedError):
        proven = error.executed is Executed.NEVER
        return Retry.OVERLOADED if proven and exchange.attempts < _OVERLOADED_ATTEMPTS else None
    if not isinstance(error, UpstreamDiedError) or error.bytes_seen:
        return None
    if retired:
        return Retry.HALF_CLOSED
    if exchange.idempotent and exchange.attempts < _IDEMPOTENT_ATTEMPTS:
        return Retry.IDEMPOTENT
    return None


def is_half_closed(poll: select.poll) -> bool:
    """POLLRDHUP without POLLHUP: the peer has closed its writing side only."""
    return any(events & POLLRDHUP and not events & select.POLLHUP for _, events in poll.poll(0))
