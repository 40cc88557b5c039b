import base64

import pytest


async def test_put_opens_a_channel_once(api):
    first = await api.put("/channels/room.1")
    assert first.status == 201
    body = await first.json()
    assert body["name"] == "room.1"
    assert (body["subscribers"], body["messages"]) == (0, 0)
    assert set(body["position"]) == {"offset", "epoch"}
    assert (await api.put("/channels/room.1")).status == 200


async def test_get_shows_a_channel_that_exists(api, house):
    await house.listen("room.1")
    response = await api.get("/channels/room.1")
    assert response.status == 200
    assert (await response.json())["subscribers"] == 1


async def test_get_of_no_channel_is_404(api):
    response = await api.get("/channels/room.1")
    assert response.status == 404
    assert (await response.json())["error"]["type"] == "not_found"


async def test_post_reaches_the_subscribers_with_its_content_type(api, house):
    listener = await house.listen("room.1")
    response = await api.post(
        "/channels/room.1", data=b'{"a":1}', headers={"Content-Type": "application/json"}
    )
    assert response.status == 201
    body = await response.json()
    assert body["subscribers"] == 1
    assert set(body) == {"subscribers", "offset", "epoch"}
    assert listener.received == [(b'{"a":1}', "application/json")]


async def test_post_without_subscribers_is_202(api):
    response = await api.post("/channels/room.1", data=b"hello")
    assert response.status == 202
    assert (await response.json())["subscribers"] == 0


async def test_the_position_of_a_kept_message_comes_back(api):
    for offset in (1, 2):
        body = await (await api.post("/channels/kept.1", data=b"x")).json()
        assert body["offset"] == offset
    assert body["epoch"]


async def test_post_to_a_private_channel_that_nobody_opened_is_404(api):
    assert (await api.post("/channels/private.1", data=b"x")).status == 404
    assert (await api.put("/channels/private.1")).status == 201
    assert (await api.post("/channels/private.1", data=b"x")).status == 202


async def test_the_same_idempotency_key_publishes_once(api, house):
    listener = await house.listen("kept.1")
    headers = {"Idempotency-Key": "order-7"}
    first = await api.post("/channels/kept.1", data=b"x", headers=headers)
    second = await api.post("/channels/kept.1", data=b"x", headers=headers)
    assert (first.status, await first.json()) == (second.status, await second.json())
    assert len(listener.received) == 1


async def test_the_idempotency_key_counts_per_channel(api, house):
    listener = await house.listen("kept.1", "kept.2")
    for channel in ("kept.1", "kept.2"):
        await api.post(f"/channels/{channel}", data=b"x", headers={"Idempotency-Key": "k"})
    assert len(listener.received) == 2


async def test_a_publisher_may_leave_one_connection_out(api, house):
    listener = await house.listen("room.1", name="me")
    other = await house.listen("room.1", name="other")
    await api.post("/channels/room.1", params={"exclude": "me"}, data=b"x")
    assert (len(listener.received), len(other.received)) == (0, 1)


async def test_text_that_is_not_utf_8_is_422(api, house):
    listener = await house.listen("room.1")
    response = await api.post(
        "/channels/room.1", data=b"\xff", headers={"Content-Type": "text/plain"}
    )
    assert response.status == 422
    assert "UTF-8" in (await response.json())["error"]["message"]
    assert listener.received == []


async def test_binary_may_be_any_bytes(api, house):
    listener = await house.listen("room.1")
    headers = {"Content-Type": "application/octet-stream"}
    assert (await api.post("/channels/room.1", data=b"\xff\0", headers=headers)).status == 201
    assert listener.received == [(b"\xff\0", "application/octet-stream")]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "unheard-of"},
    ],
)
async def test_forms_and_compressed_bodies_are_415(api, headers):
    response = await api.post("/channels/room.1", data=b"", headers=headers)
    assert response.status == 415


async def test_delete_tells_the_subscribers(api, house):
    listener = await house.listen("room.1")
    assert (await api.delete("/channels/room.1")).status == 200
    assert listener.closed == ["room.1"]
    assert (await api.delete("/channels/room.1")).status == 404


async def test_the_list_is_paged_by_name(api):
    for name in ("room.3", "room.1", "other", "room.2"):
        await api.put(f"/channels/{name}")
    seen, after = [], ""
    for _ in range(2):
        response = await api.get(
            "/channels", params={"match": "room.*", "limit": "2", "after": after}
        )
        assert response.status == 200
        page = await response.json()
        seen.append([channel["name"] for channel in page["channels"]])
        after = page["next"]
    assert seen == [["room.1", "room.2"], ["room.3"]]
    assert after is None


async def test_the_list_without_a_pattern_shows_everything(api):
    await api.put("/channels/a")
    page = await (await api.get("/channels")).json()
    assert [channel["name"] for channel in page["channels"]] == ["a"]


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "many", "٣", "1" * 5000])
async def test_a_limit_that_is_none_is_400(api, limit):
    response = await api.get("/channels", params={"limit": limit})
    assert response.status == 400


async def test_one_post_reaches_every_channel_of_a_pattern(api, house):
    listener = await house.listen("room.1", "room.2", "other")
    await api.put("/channels/room.3")
    response = await api.post("/channels", params={"match": "room.*"}, data=b"all")
    assert response.status == 201
    assert await response.json() == {"channels": 3, "subscribers": 2}
    assert [data for data, _ in listener.received] == [b"all", b"all"]


async def test_a_post_that_reaches_nobody_is_202(api):
    response = await api.post("/channels", params={"match": "*"}, data=b"all")
    assert response.status == 202
    assert await response.json() == {"channels": 0, "subscribers": 0}


async def test_a_post_to_all_must_say_which(api):
    assert (await api.post("/channels", data=b"x")).status == 400


async def test_presence_counts_each_connection_once(api, house):
    listener = await house.listen("here.1")
    await house.channels.join(listener, "here.1")
    response = await api.get("/channels/here.1/presence")
    assert response.status == 200
    assert await response.json() == {
        "channel": "here.1",
        "count": 1,
        "clients": [{"id": "listener", "user": "ann"}],
    }


async def test_history_shows_each_kind_of_data(api):
    kinds = [("application/json", b'{"n":12345678901234567890}'), ("text/plain", b"hi"),
             ("application/octet-stream", b"\xff")]  # fmt: skip
    for content_type, data in kinds:
        await api.post("/channels/kept.1", data=data, headers={"Content-Type": content_type})
    response = await api.get("/channels/kept.1/history")
    assert response.status == 200
    body = await response.json()
    assert body["channel"] == "kept.1"
    assert body["position"]["offset"] == 3
    assert body["publications"] == [
        {"data": {"n": 12345678901234567890}, "offset": 1},
        {"data": "hi", "offset": 2},
        {"data": base64.b64encode(b"\xff").decode(), "encoding": "base64", "offset": 3},
    ]
    assert "recovered" not in body


async def test_history_can_be_limited_to_the_newest(api):
    for number in range(5):
        await api.post("/channels/kept.1", data=str(number))
    body = await (await api.get("/channels/kept.1/history", params={"limit": "2"})).json()
    assert [publication["data"] for publication in body["publications"]] == ["3", "4"]


async def test_history_since_a_position_is_whole_or_empty(api):
    for number in range(5):
        sent = await api.post("/channels/kept.1", data=str(number))
    epoch = (await sent.json())["epoch"]

    async def since(offset: int, epoch: str) -> tuple[bool, list[int]]:
        response = await api.get(
            "/channels/kept.1/history", params={"offset": str(offset), "epoch": epoch}
        )
        body = await response.json()
        return body["recovered"], [each["offset"] for each in body["publications"]]

    assert await since(3, epoch) == (True, [4, 5])
    assert await since(1, epoch) == (False, [])
    assert await since(3, "another") == (False, [])


@pytest.mark.parametrize(
    ("name", "escaped"),
    [("a/b", "a%2Fb"), ("räum", "r%C3%A4um"), ("a?b", "a%3Fb"), ("x:y@z", "x:y@z")],
)
async def test_names_travel_escaped(api, house, name, escaped):
    from yarl import URL

    listener = await house.listen(name)
    url = URL(f"/channels/{escaped}", encoded=True)
    assert (await api.post(url, data=b"x")).status == 201
    assert len(listener.received) == 1


@pytest.mark.parametrize("escaped", ["a%20b", "a%0Ab", "a*", "a%3E", "a" * 256, "%00", "%E2%80%AE"])
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
async def test_a_name_that_no_channel_has_is_400(api, method, escaped):
    from yarl import URL

    response = await api.request(method, URL(f"/channels/{escaped}", encoded=True))
    assert response.status == 400
    assert (await response.json())["error"]["type"] == "bad_request"
