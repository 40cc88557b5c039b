"""Section 4.2 of the Basic HTTP Push Relay Protocol, rev. 2.23."""

import pytest

ROOM = {"channel": "room.1"}


async def test_put_creates_a_channel_and_is_always_200(api):
    assert (await api.put("/publish", params=ROOM)).status == 200
    assert (await api.put("/publish", params=ROOM)).status == 200


async def test_get_is_200_for_a_known_channel_and_404_otherwise(api):
    assert (await api.get("/publish", params=ROOM)).status == 404
    await api.put("/publish", params=ROOM)
    assert (await api.get("/publish", params=ROOM)).status == 200


async def test_post_is_201_when_somebody_received_it_else_202(api, house):
    assert (await api.post("/publish", params=ROOM, data=b"x")).status == 202
    listener = await house.listen("room.1")
    headers = {"Content-Type": "text/x-own"}
    assert (await api.post("/publish", params=ROOM, data=b"y", headers=headers)).status == 201
    assert listener.received == [(b"y", "text/x-own")]


async def test_post_creates_a_channel_that_must_be_opened(api):
    query = {"channel": "private.1"}
    assert (await api.post("/channels/private.1", data=b"x")).status == 404
    assert (await api.post("/publish", params=query, data=b"x")).status == 202
    assert (await api.get("/publish", params=query)).status == 200


async def test_delete_is_200_and_ends_the_channel_else_404(api, house):
    listener = await house.listen("room.1")
    response = await api.delete("/publish", params=ROOM)
    assert response.status == 200
    assert "active subscribers: 1" in await response.text()
    assert listener.closed == ["room.1"]
    assert (await api.delete("/publish", params=ROOM)).status == 404


async def test_a_success_tells_about_the_channel_as_text(api):
    query = {"channel": "kept.1"}
    await api.post("/publish", params=query, data=b"x")
    response = await api.get("/publish", params=query)
    assert response.content_type == "text/plain"
    lines = (await response.text()).split("\r\n")
    assert lines[:2] == ["queued messages: 1", "active subscribers: 0"]


@pytest.mark.parametrize("accept", ["application/json", "text/json", "text/html, application/json"])
async def test_or_as_json_where_that_is_accepted(api, accept):
    query = {"channel": "kept.1"}
    response = await api.post("/publish", params=query, data=b"x", headers={"Accept": accept})
    assert response.status == 202
    assert response.content_type == "application/json"
    assert response.headers["Vary"] == "Accept"
    body = await response.json()
    assert (body["messages"], body["subscribers"]) == (1, 0)
    assert body["last_message_id"].startswith("1:")


async def test_another_method_is_405(api):
    response = await api.patch("/publish", params=ROOM)
    assert response.status == 405
    assert set(response.headers["Allow"].split(",")) == {"DELETE", "GET", "HEAD", "POST", "PUT"}


@pytest.mark.parametrize("url", ["/publish", "/publish?channel=a&channel=b", "/publish?channel="])
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
async def test_without_exactly_one_channel_it_is_400(api, method, url):
    assert (await api.request(method, url)).status == 400
