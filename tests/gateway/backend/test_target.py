"""What the operator is told, and what is counted, of requests to PHP."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from fastcgi.errors import (
    AddressForbiddenError,
    QueueFullError,
    UpstreamDiedError,
    UpstreamUnavailableError,
)
from gateway.metrics import render
from tests.fakes import House

Build = Callable[..., Awaitable[House]]


async def logged(house: House, **answer: Any) -> list[Any]:
    client = await house.connect()
    client.say("a secret payload")
    with capture_logs() as logs:
        house.pool.answer(**answer)
    assert "payload" not in str(logs)
    return logs


async def test_stderr_goes_to_the_log_with_route_and_connection(build: Build) -> None:
    house = await build()
    (line,) = await logged(house, body="ok", stderr=b"PHP Warning:  x\x1b[31m in y\n")

    assert line["event"] == "php wrote to stderr"
    assert line["log_level"] == "warning"
    assert line["text"] == "PHP Warning:  x\x1b[31m in y"
    assert (line["route"], line["upstream"]) == ("test", "app")
    assert line["connection"]


async def test_a_missing_script_is_explained_with_the_cure(build: Build) -> None:
    house = await build()
    lines = await logged(
        house, body="File not found.\n", status=404, stderr=b"Primary script unknown\n"
    )

    assert "document_root or script is wrong" in lines[-1]["cure"]
    assert "/srv/ws.php" in lines[-1]["cure"]


async def test_access_denied_is_explained_with_the_cure(build: Build) -> None:
    house = await build()
    (line,) = await logged(house, body="Access denied.\n", status=403)

    assert "security.limit_extensions" in line["cure"]


async def test_a_404_of_the_application_is_nobodys_mistake(build: Build) -> None:
    house = await build()

    assert await logged(house, body='{"no":"such user"}', status=404) == []


async def test_a_good_answer_is_not_logged(build: Build) -> None:
    """Nothing per frame, at whatever level."""
    house = await build()

    assert await logged(house, body="ok") == []


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (AddressForbiddenError("unix:/run/x", "Permission denied"), "listen.owner"),
        (UpstreamUnavailableError("unix:/run/x", "No such file"), "is php-fpm running"),
    ],
)
async def test_a_mistake_of_configuration_is_explained(build: Build, error: Any, cure: str) -> None:
    house = await build()
    client = await house.connect()
    client.say("x")
    with capture_logs() as logs:
        house.pool.fail(error)

    assert cure in logs[0]["cure"]
    assert "/run/x" in logs[0]["error"]
    assert "/run/x" not in client.frames[-1]


async def test_what_a_dying_script_wrote_is_logged(build: Build) -> None:
    house = await build()
    client = await house.connect()
    client.say("x")
    error = UpstreamDiedError(0)
    error.stderr = b"PHP Fatal error: out of memory\n"
    with capture_logs() as logs:
        house.pool.fail(error)

    assert logs[0]["stderr"] == "PHP Fatal error: out of memory"


async def test_lines_of_one_cause_are_limited(build: Build) -> None:
    house = await build()
    client = await house.connect()
    with capture_logs() as logs:
        for _ in range(100):
            client.say("x")
            house.pool.fail(UpstreamDiedError(0))

    assert len(logs) <= 20


async def test_a_pool_that_refuses_fails_the_message_later_not_inside(build: Build) -> None:
    house = await build()
    client = await house.connect()
    house.pool.refusal = QueueFullError(5, 5)

    client.say("x")
    assert client.frames == []
    await house.settle()
    assert client.last["error"]["type"] == "queue_full"


async def test_requests_are_counted_by_outcome(build: Build) -> None:
    house = await build()
    client = await house.connect()
    for status in (200, 500):
        client.say("x")
        house.pool.answer("y", status)
    client.say("x")
    house.pool.fail(UpstreamDiedError(0))

    text = render(house.metrics.export()).decode()
    for outcome in ("2xx", "5xx", "error"):
        assert (
            f'wsgate_fastcgi_request_duration_seconds_count{{outcome="{outcome}",'
            f'route="test",upstream="app"}} 1.0' in text
        )
    assert 'wsgate_fastcgi_errors_total{type="upstream_error",upstream="app"} 1.0' in text
    assert 'wsgate_messages_sent_total{source="reply"} 1.0' in text
    assert 'wsgate_messages_sent_total{source="error"} 2.0' in text
    assert 'wsgate_messages_received_total{route="test",type="text"} 3.0' in text


async def test_what_waited_and_what_did_not_are_counted_together(build: Build) -> None:
    house = await build()
    client = await house.connect()
    for waited in (0.0, 0.02):
        client.say("x")
        (request,) = house.pool.requests
        request.sent_at = request.queued_at + waited
        house.pool.answer("y")

    text = render(house.metrics.export()).decode()
    name = "wsgate_fastcgi_queue_wait_seconds"
    for bound, count in (("0.0005", 1), ("0.01", 1), ("0.025", 2), ("+Inf", 2)):
        assert f'{name}_bucket{{le="{bound}",upstream="app"}} {count}.0' in text
    assert f'{name}_sum{{upstream="app"}} 0.02' in text
