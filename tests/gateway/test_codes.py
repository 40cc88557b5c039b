"""Which failure has which code; the table of the contract."""

import inspect
from pathlib import Path

import pytest

from fastcgi import errors as fastcgi
from gateway import errors
from gateway.codes import (
    INTERNAL,
    CloseCode,
    Failure,
    failure_of,
    failure_of_status,
    may_be_sent,
)

TYPES = {
    "bad_request",
    "upstream_error",
    "upstream_timeout",
    "upstream_unavailable",
    "queue_full",
    "rate_limited",
    "too_large",
    "not_found",
    "unauthorized",
    "forbidden",
    "conflict",
    "gone",
    "internal",
}


def errors_of(module: object) -> list[type[BaseException]]:
    return [
        kind
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, Exception)
    ]


@pytest.mark.parametrize("kind", errors_of(fastcgi), ids=lambda kind: kind.__name__)
def test_every_error_of_the_way_to_php_has_a_failure(kind: type[Exception]) -> None:
    assert failure_of(kind.__new__(kind)) is not INTERNAL


@pytest.mark.parametrize(
    "kind",
    [
        kind
        for kind in errors_of(errors)
        if kind.__name__
        not in {"GatewayError", "ConfigurationError", "ChannelError", "BrokerError"}
    ],
    ids=lambda kind: kind.__name__,
)
def test_every_error_of_the_gateway_has_a_failure_or_never_meets_a_client(
    kind: type[Exception],
) -> None:
    if kind is errors.UnrecoverablePositionError:
        return  # answered with `recovered: false`
    assert failure_of(kind.__new__(kind)) is not INTERNAL


def test_what_nobody_foresaw_is_internal() -> None:
    assert failure_of(ZeroDivisionError()) is INTERNAL


@pytest.mark.parametrize("status", [*range(300, 309), *range(400, 432), *range(500, 512), 599])
def test_a_status_of_php_keeps_its_code(status: int) -> None:
    failure = failure_of_status(status)

    assert failure.status == status
    assert failure.type in TYPES
    assert may_be_sent(failure.close)


def test_every_failure_is_one_that_clients_know() -> None:
    import gateway.codes

    failures = [value for value in vars(gateway.codes).values() if isinstance(value, Failure)]
    assert len(failures) > 10
    for failure in failures:
        assert failure.type in TYPES
        assert may_be_sent(failure.close)
        assert len(failure.message.encode()) <= 123
        assert 400 <= failure.status < 600


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1013, 3000, 3999, 4000, 4999])
def test_codes_that_may_be_sent(code: int) -> None:
    assert may_be_sent(code)


@pytest.mark.parametrize("code", [-1, 0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 2999, 5000])
def test_codes_that_may_not(code: int) -> None:
    assert not may_be_sent(code)


def test_every_close_code_is_explained_to_clients() -> None:
    page = (Path(__file__).parents[2] / "docs" / "client-protocol.md").read_text()
    assert [int(code) for code in CloseCode if f"{int(code)}" not in page] == []
