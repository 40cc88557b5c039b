import pytest

OPEN = "/connections/nodename-open"

CALLS = [
    ("GET", ""),
    ("POST", ""),
    ("DELETE", ""),
    ("POST", "/channels/room.1"),
    ("DELETE", "/channels/room.1"),
]


async def test_get_shows_the_state(api):
    response = await api.get(OPEN)
    assert response.status == 200
    assert await response.json() == {"id": "nodename-open", "route": "chat"}


async def test_post_pushes_text_or_binary(api, house):
    assert (await api.post(OPEN, data=b"hello")).status == 200
    headers = {"Content-Type": "application/octet-stream"}
    assert (await api.post(OPEN, data=b"\xff", headers=headers)).status == 200
    assert house.connections.done == [
        ("push", b"hello", "application/octet-stream"),
        ("push", b"\xff", "application/octet-stream"),
    ]


async def test_a_push_without_a_type_is_text(api, house):
    response = await api.post(OPEN, data=b"hello", skip_auto_headers=["Content-Type"])
    assert response.status == 200
    assert house.connections.done == [("push", b"hello", "text/plain; charset=utf-8")]


async def test_a_text_push_that_is_not_utf_8_is_422(api, house):
    response = await api.post(OPEN, data=b"\xc3", headers={"Content-Type": "text/plain"})
    assert response.status == 422
    assert house.connections.done == []


async def test_delete_closes_with_a_code_and_a_reason(api, house):
    assert (await api.delete(OPEN)).status == 200
    assert (await api.delete(OPEN, params={"code": "4001", "reason": "bye"})).status == 200
    assert house.connections.done == [("close", 1000, ""), ("close", 4001, "bye")]


@pytest.mark.parametrize(
    "query",
    [
        {"code": "1006"},
        {"code": "1005"},
        {"code": "2999"},
        {"code": "5000"},
        {"code": "x"},
        {"reason": "ä" * 62},
        {"reason": "a\nb"},
    ],
)
async def test_what_no_close_frame_may_carry_is_400(api, house, query):
    assert (await api.delete(OPEN, params=query)).status == 400
    assert house.connections.done == []


async def test_a_connection_joins_and_leaves_a_channel(api, house):
    assert (await api.post(f"{OPEN}/channels/room.1")).status == 200
    assert (await api.delete(f"{OPEN}/channels/room.1")).status == 200
    assert house.connections.done == [("subscribe", "room.1"), ("unsubscribe", "room.1")]


async def test_a_full_channel_is_409(api):
    response = await api.post(f"{OPEN}/channels/full")
    assert response.status == 409
    assert (await response.json())["error"]["type"] == "conflict"


@pytest.mark.parametrize(("method", "rest"), CALLS)
async def test_what_is_no_id_is_404_and_what_has_gone_is_410(api, method, rest):
    assert (await api.request(method, f"/connections/what{rest}")).status == 404
    response = await api.request(method, f"/connections/nodename-gone{rest}")
    assert response.status == 410
    assert (await response.json())["error"]["type"] == "gone"
