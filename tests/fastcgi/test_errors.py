import pytest

from fastcgi import errors
from fastcgi.errors import Executed, FastCGIError


@pytest.mark.parametrize(
    ("error", "attributes", "message"),
    [
        (errors.LocalProtocolError("not now"), {}, "not now"),
        (errors.RemoteProtocolError("odd"), {"reason": "odd", "found": None}, "odd"),
        (errors.RemoteProtocolError("odd, type", 7), {"found": 7}, "odd, type: 7"),
        (errors.MalformedResponseError("odd, line", 2), {"found": 2}, "odd, line: 2"),
        (
            errors.ResponseTooLargeError(100),
            {"limit": 100},
            "the response body is larger than 100 bytes",
        ),
        (
            errors.UpstreamOverloadedError(2, Executed.NEVER),
            {"protocol_status": 2, "executed": Executed.NEVER},
            "the application is overloaded (protocol status 2)",
        ),
        (
            errors.UpstreamRefusedError(77, Executed.MAYBE),
            {"protocol_status": 77, "executed": Executed.MAYBE},
            "the application refused the request (protocol status 77)",
        ),
        (
            errors.UpstreamDiedError(9),
            {"bytes_seen": 9, "executed": Executed.MAYBE},
            "the connection ended after 9 bytes, before the response did",
        ),
        (errors.QueueFullError(5, 5), {"waiting": 5, "limit": 5}, "5 requests waiting, limit 5"),
        (errors.QueueTimeoutError(0.5), {"seconds": 0.5}, "waited 0.5 s for a connection"),
        (errors.PoolClosedError(), {}, "the pool is closed"),
        (
            errors.ConnectError("unix:/s", "boom"),
            {"address": "unix:/s", "reason": "boom"},
            "cannot connect to unix:/s: boom",
        ),
        (
            errors.UpstreamUnavailableError("unix:/s", "no such file"),
            {"address": "unix:/s", "reason": "no such file"},
            "nobody answers at unix:/s: no such file",
        ),
        (
            errors.AddressForbiddenError("unix:/s", "permission denied"),
            {"reason": "permission denied"},
            "not permitted to open unix:/s: permission denied",
        ),
        (errors.RequestTimeoutError(30), {"seconds": 30}, "no complete response within 30 s"),
        (
            errors.WriteTimeoutError(2.5),
            {"seconds": 2.5},
            "the application did not read the request within 2.5 s",
        ),
    ],
)
def test_an_error_says_what_happened_and_carries_its_numbers(
    error: FastCGIError, attributes: dict[str, object], message: str
):
    assert str(error) == message
    assert {name: getattr(error, name) for name in attributes} == attributes
    assert error.stderr == b""


@pytest.mark.parametrize(
    "error",
    [
        errors.LocalProtocolError,
        errors.PoolError,
        errors.QueueFullError,
        errors.QueueTimeoutError,
        errors.PoolClosedError,
        errors.ConnectError,
        errors.UpstreamUnavailableError,
        errors.AddressForbiddenError,
    ],
)
def test_what_happens_before_the_request_is_sent_proves_that_nothing_ran(
    error: type[FastCGIError],
):
    assert error.executed is Executed.NEVER


@pytest.mark.parametrize(
    "error",
    [
        errors.RemoteProtocolError,
        errors.MalformedResponseError,
        errors.ResponseTooLargeError,
        errors.UpstreamError,
        errors.RequestTimeoutError,
        errors.WriteTimeoutError,
    ],
)
def test_what_happens_after_it_is_sent_proves_nothing(error: type[FastCGIError]):
    assert error.executed is Executed.MAYBE


def test_whoever_can_prove_that_a_dead_connection_executed_nothing_says_so():
    assert errors.UpstreamDiedError(0, Executed.NEVER).executed is Executed.NEVER
