import pytest

from fastcgi.errors import (
    Executed,
    FastCGIError,
    RemoteProtocolError,
    RequestTimeoutError,
    UpstreamDiedError,
    UpstreamOverloadedError,
)
from fastcgi.exchange import Exchange
from fastcgi.retry import Retry, judge

NEVER, MAYBE = Executed.NEVER, Executed.MAYBE


@pytest.mark.parametrize(
    ("error", "retired", "idempotent", "attempts", "verdict"),
    [
        (UpstreamDiedError(0), True, False, 1, Retry.HALF_CLOSED),
        (UpstreamDiedError(0), True, True, 9, Retry.HALF_CLOSED),
        (UpstreamDiedError(0), False, False, 1, None),
        (UpstreamDiedError(0), False, True, 1, Retry.IDEMPOTENT),
        (UpstreamDiedError(0), False, True, 2, None),
        (UpstreamDiedError(1), True, True, 1, None),
        (UpstreamOverloadedError(2, NEVER), False, False, 1, Retry.OVERLOADED),
        (UpstreamOverloadedError(1, NEVER), False, False, 3, None),
        (UpstreamOverloadedError(2, MAYBE), False, True, 1, None),
        (RemoteProtocolError("no"), True, True, 1, None),
        (RequestTimeoutError(1.0), False, True, 1, None),
    ],
)
def test_only_a_proof_or_a_permission_sends_again(
    error: FastCGIError,
    attempts: int,
    verdict: Retry | None,
    *,
    retired: bool,
    idempotent: bool,
):
    exchange = Exchange((), b"", timeout=1, script="/app.php", idempotent=idempotent)
    exchange.attempts = attempts
    assert judge(exchange, error, retired=retired) is verdict
