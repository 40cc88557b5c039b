import io
from collections.abc import AsyncIterator

import pytest

from gateway.api import replace_services
from gateway.errors import BrokerUnavailableError


async def failing(*_args, **_named):
    raise BrokerUnavailableError("redis://secret@10.0.0.1 is away")


def failing_at_once(*_args, **_named):
    raise BrokerUnavailableError("redis://secret@10.0.0.1 is away")


async def test_a_broker_that_is_away_is_503_with_a_time_to_come_back(api, house, monkeypatch):
    monkeypatch.setattr(house.broker, "publish", failing)
    monkeypatch.setattr(house.broker, "post", failing_at_once)
    response = await api.post("/channels/room.1", data=b"x")
    assert response.status == 503
    assert response.headers["Retry-After"] == "1"
    error = (await response.json())["error"]
    assert (error["code"], error["type"]) == (503, "upstream_unavailable")
    assert "10.0.0.1" not in error["message"]


async def test_a_failure_that_nobody_foresaw_is_500_without_its_text(api, house, monkeypatch):
    async def broken(*_args, **_named):
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(house.broker, "state", broken)
    response = await api.get("/channels/room.1")
    assert response.status == 500
    assert "secret" not in await response.text()


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PATCH", "/channels/room.1", {"DELETE", "GET", "HEAD", "POST", "PUT"}),
        ("DELETE", "/channels", {"GET", "HEAD", "POST"}),
        ("GET", "/batch", {"POST"}),
        ("POST", "/metrics", {"GET", "HEAD"}),
        ("POST", "/health/live", {"GET", "HEAD"}),
        ("PUT", "/connections/x", {"DELETE", "GET", "HEAD", "POST"}),
        ("GET", "/connections/x/channels/y", {"DELETE", "POST"}),
    ],
)
async def test_another_method_is_405_and_told_which(api, method, path, allow):
    response = await api.request(method, path)
    assert response.status == 405
    assert set(response.headers["Allow"].split(",")) == allow
    error = (await response.json())["error"]
    assert (error["code"], error["message"]) == (405, "Method Not Allowed")


@pytest.mark.parametrize("path", ["/nowhere", "/channels/", "/channels/a/b", "/connections"])
async def test_an_unknown_path_is_404_in_the_same_shape(api, path):
    response = await api.get(path)
    assert response.status == 404
    assert set((await response.json())["error"]) == {"code", "type", "message"}


@pytest.mark.parametrize(
    "path", ["/channels/room.1", "/channels?match=*", "/batch", "/publish?channel=room.1",
             "/connections/nodename-open"]
)  # fmt: skip
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_413(serve, house, path, chunked):
    api = await serve(max_body=1000)
    await house.listen("room.1")

    async def pieces(size: int) -> AsyncIterator[bytes]:
        for _ in range(size // 100):
            yield b" " * 100

    def body(size: int) -> bytes | AsyncIterator[bytes]:
        return pieces(size) if chunked else b" " * size

    headers = {"Content-Type": "text/plain"}
    assert (await api.post(path, data=body(1000), headers=headers)).status in {200, 201, 202}
    response = await api.post(path, data=body(1100), headers=headers)
    assert response.status == 413
    assert (await response.json())["error"]["type"] == "too_large"


async def test_ten_megabytes_are_too_many_by_default(api):
    response = await api.post("/channels/room.1", data=io.BytesIO(bytes(10_000_000)))
    assert response.status == 413


@pytest.mark.parametrize("header", ["Idempotency-Key", "Content-Type"])
@pytest.mark.parametrize("value", ["x" * 256, "a\u00e9"])
async def test_headers_that_are_kept_are_short_and_plain(api, header, value):
    response = await api.post("/channels/room.1", data=b"x", headers={header: value})
    assert response.status == 400


async def test_names_that_nobody_listens_to_leave_nothing_behind(api, house):
    """Neither in the books nor among the rules that are remembered."""
    lines = b"".join(b'{"channel":"c%d","data":1}\n' % number for number in range(20_000))
    headers = {"Content-Type": "application/x-ndjson"}
    for _ in range(2):
        response = await api.post("/batch", data=lines, headers=headers)
        assert response.status == 200
        assert (await response.text()).count('"status":202') == 20_000
    assert len(house.broker._books) == 0
    assert len(house.channels.policies._known) <= 10_000


async def test_services_can_be_replaced_while_it_runs(api, house):
    assert (await api.get("/status")).status == 200
    replace_services(api.app, house.services(api_key="new"))
    assert (await api.get("/status")).status == 401
    assert (await api.get("/status", headers={"X-API-Key": "new"})).status == 200


async def test_answers_are_not_kept_by_anybody(api):
    for path in ("/", "/status", "/nowhere", "/metrics"):
        response = await api.get(path)
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Server"] == "wsgate"
