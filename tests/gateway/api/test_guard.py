import base64
import io

import pytest
from aiohttp import hdrs

KEY = "a key of sufficient length"

CALLS = [
    *[(method, "/channels/room.1") for method in ("GET", "PUT", "POST", "DELETE")],
    *[(method, "/publish?channel=room.1") for method in ("GET", "PUT", "POST", "DELETE")],
    *[(method, "/connections/nodename-open") for method in ("GET", "POST", "DELETE")],
    *[(method, "/connections/nodename-open/channels/a") for method in ("POST", "DELETE")],
    *[("GET", f"/channels/room.1/{what}") for what in ("presence", "history")],
    *[("GET", "/channels"), ("POST", "/channels?match=*"), ("POST", "/batch")],
    *[("GET", path) for path in ("/", "/status", "/metrics", "/nowhere", "/health/other")],
]


@pytest.mark.parametrize(("method", "path"), CALLS)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": "wrong"},
        {"X-API-Key": ""},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer"},
        {"Authorization": KEY},
        {"Authorization": "Basic !!!"},
        {"X-API-Key": "b\u00e4d"},
    ],
)
async def test_nothing_is_done_without_the_key(serve, house, method, path, headers):
    api = await serve(api_key=KEY)
    await house.channels.open("room.1")
    response = await api.request(method, path, headers=headers)
    assert response.status == 401
    assert (await response.json())["error"]["type"] == "unauthorized"
    assert hdrs.WWW_AUTHENTICATE in response.headers
    assert house.connections.done == []
    assert await house.channels.exists("room.1")


@pytest.mark.parametrize("headers", [{"X-API-Key": KEY}, {"Authorization": f"bearer {KEY}"}])
async def test_either_header_may_carry_the_key(serve, headers):
    api = await serve(api_key=KEY)
    assert (await api.put("/channels/room.1", headers=headers)).status == 201


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
async def test_health_needs_no_key(serve, path):
    api = await serve(api_key=KEY)
    assert (await api.get(path)).status == 200


async def test_a_browser_may_read_the_page_with_the_key_as_password(serve):
    """It asks for a password on the page and then sends it with the page's own requests."""
    api = await serve(api_key=KEY)
    assert (await api.get("/")).headers["WWW-Authenticate"].startswith("Basic ")
    password = "Basic " + base64.b64encode(f"any:{KEY}".encode()).decode()
    for path in ("/", "/status"):
        assert (await api.get(path, headers={"Authorization": password})).status == 200
    for method, path in (("GET", "/metrics"), ("GET", "/channels"), ("POST", "/channels/a")):
        response = await api.request(method, path, headers={"Authorization": password})
        assert response.status == 401


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
async def test_pages_of_other_sites_are_refused(api, house, origin):
    listener = await house.listen("room.1")
    response = await api.post("/channels/room.1", data=b"x", headers={"Origin": origin})
    assert response.status == 403
    assert listener.received == []


async def test_the_page_itself_may_call(api):
    origin = f"http://{api.host}:{api.port}"
    assert (await api.get("/status", headers={"Origin": origin})).status == 200


async def test_a_name_that_only_resolves_to_this_machine_is_refused_without_a_key(api, serve):
    """Else any page could reach the API of a developer's machine by its own name."""
    for host in ("evil.example:8081", "127.0.0.1.evil.example", ""):
        assert (await api.get("/status", headers={"Host": host})).status == 403
    for host in ("localhost:8081", "127.0.0.1", "[::1]:8081", "app.localhost"):
        assert (await api.get("/status", headers={"Host": host})).status == 200
    guarded = await serve(api_key=KEY)
    headers = {"Host": "wsgate.internal", "X-API-Key": KEY}
    assert (await guarded.get("/status", headers=headers)).status == 200


async def test_a_wrong_key_is_refused_before_the_body_is_read(serve):
    api = await serve(api_key=KEY)
    response = await api.post("/channels/room.1", data=io.BytesIO(bytes(10_000_000)))
    assert response.status == 401
