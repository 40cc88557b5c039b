"""What PHP finds in `$_SERVER`, and what a client can never put there."""

from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcgi.params import decode
from gateway.backend import environ
from gateway.errors import MessageError
from gateway.sessions.identity import _host
from tests.fakes import House, params_of

Build = Callable[..., Awaitable[House]]


async def test_the_whole_environment_of_a_message(build: Build) -> None:
    house = await build(
        name="chat",
        path="/ws/{room}/{rest:.*}",
        script="/sub/ws.php",
        upstream={"document_root": "/srv/app/", "params": {"APP_ENV": "test"}},
    )
    client = await house.connect(
        "/ws/bl%C3%BCe/a/b",
        "x=1&y=%20",
        headers=(("user-agent", "test"), ("cookie", "a=1"), ("cookie", "b=2"), ("x-many", "1")),
        scheme="https",
    )
    assert client.session is not None
    connection = client.session.id
    client.say("first")
    house.pool.answer("")
    client.say("ü")

    assert house.pool.server == {
        # nginx's fastcgi.conf
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_SOFTWARE": "wsgate",
        "REQUEST_METHOD": "POST",
        "REDIRECT_STATUS": "200",
        "DOCUMENT_ROOT": "/srv/app",
        "SCRIPT_FILENAME": "/srv/app/sub/ws.php",
        "SCRIPT_NAME": "/sub/ws.php",
        "DOCUMENT_URI": "/sub/ws.php",
        "QUERY_STRING": "x=1&y=%20",
        "REQUEST_URI": "/ws/bl%C3%BCe/a/b?x=1&y=%20",
        "REQUEST_SCHEME": "https",
        "HTTPS": "on",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "example.com",
        "SERVER_ADDR": "192.0.2.1",
        "SERVER_PORT": "8080",
        "REMOTE_ADDR": "192.0.2.7",
        "REMOTE_PORT": "5000",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": "2",
        # the handshake's headers
        "HTTP_HOST": "example.com",
        "HTTP_USER_AGENT": "test",
        "HTTP_COOKIE": "a=1; b=2",
        "HTTP_X_MANY": "1",
        # wsgate's own
        "WS_EVENT": "message",
        "WS_CONNECTION_ID": connection,
        "WS_CONNECTED_AT": "1700000000000",
        "WS_MESSAGE_ID": "2",
        "WS_MESSAGE_TYPE": "text",
        "WS_ROUTE": "chat",
        "WS_PATH_ROOM": "blüe",
        "WS_PATH_REST": "a/b",
        "WS_SUBPROTOCOL": "",
        "WS_PUSH_URL": f"http://push/connections/{connection}",
        # the configuration's
        "APP_ENV": "test",
    }


async def test_the_content_type_of_text_is_the_routes(build: Build) -> None:
    house = await build(content_type="text/plain; charset=utf-8")
    client = await house.connect()

    client.say("x")
    assert house.pool.server["CONTENT_TYPE"] == "text/plain; charset=utf-8"
    house.pool.answer("")
    client.say(b"x", text=False)
    assert house.pool.server["CONTENT_TYPE"] == "application/octet-stream"


async def test_a_rule_gives_its_script_and_its_name(build: Build) -> None:
    rules = {"select": "do", "rules": {"stats": {"script": "/s.php"}, "*": {"script": "/r.php"}}}
    house = await build(messages=rules)
    client = await house.connect()

    client.say('{"do":"stats"}')
    server = house.pool.server
    assert (server["SCRIPT_NAME"], server["WS_RULE"]) == ("/s.php", "stats")
    house.pool.answer("")
    client.say("nonsense")
    server = house.pool.server
    assert (server["SCRIPT_NAME"], server["WS_RULE"]) == ("/r.php", "*")


@pytest.mark.parametrize(
    "path",
    ["/x.php/y", "/ws/..%2f..%2fetc", "/ws/%00", "/ws/" + "a" * 8000, "/ws/x.php", "//ws/x"],
)
async def test_no_path_changes_the_script(build: Build, path: str) -> None:
    house = await build(path="/{all:.*}")
    if house.runtime.match(path) is None:
        return
    client = await house.connect(path)

    client.say("x")
    server = house.pool.server
    assert server["SCRIPT_FILENAME"] == "/srv/ws.php"
    assert "PATH_INFO" not in server


@pytest.mark.parametrize(
    "name",
    [
        "x_user",
        "x.user",
        "x user",
        "proxy",
        "Proxy",
        "connection",
        "upgrade",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "proxy-connection",
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-extensions",
        "content-length",
        "content-type",
        "ws-user",
        "WS-Meta-Role",
        "ws-event",
        "",
        "ü",
        "x:",
    ],
)
def test_such_a_header_does_not_reach_php(name: str) -> None:
    assert environ.http_headers([(name, "evil")]) == []


def test_others_do_and_repeated_ones_are_joined() -> None:
    assert environ.http_headers(
        [("X-User", "a"), ("x-user", "b"), ("authorization", "Bearer")]
    ) == [
        (b"HTTP_X_USER", "a, b"),
        (b"HTTP_AUTHORIZATION", "Bearer"),
    ]


@pytest.mark.parametrize("value", ["a\0", "\r", "a\nb: c"])
@pytest.mark.parametrize("name", ["x", "cookie", "proxy"])
def test_a_control_character_is_refused(name: str, value: str) -> None:
    with pytest.raises(MessageError):
        environ.http_headers([(name, value)])


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8))))
def test_whatever_a_client_sends_becomes_http_names_only(headers: list[tuple[str, str]]) -> None:
    try:
        pairs = environ.http_headers(headers)
    except MessageError:
        return
    for name, value in pairs:
        assert name.startswith(b"HTTP_")
        assert set(name) <= set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
        assert not name.startswith(b"HTTP_WS_")
        assert not {"\0", "\r", "\n"} & set(value)


@given(st.integers(1, 2**64 - 1), st.integers(0, 2**40))
def test_a_message_block_reads_as_it_was_meant(message_id: int, length: int) -> None:
    template = environ.message_template(content_type="a/b", text=True)

    assert decode(environ.message_block(template, message_id, length)) == [
        (b"WS_EVENT", b"message"),
        (b"WS_MESSAGE_TYPE", b"text"),
        (b"CONTENT_TYPE", b"a/b"),
        (b"WS_MESSAGE_ID", str(message_id).encode()),
        (b"CONTENT_LENGTH", str(length).encode()),
    ]


async def test_bytes_that_are_no_utf8_come_through_as_they_are(build: Build) -> None:
    house = await build()
    client = await house.connect(headers=(("x-name", "caf\udce9"),))

    client.say("x")
    assert params_of(house.pool.requests[0])["HTTP_X_NAME"] == "caf\udce9"


@pytest.mark.parametrize(
    ("host", "name"),
    [("[::1]:8080", "::1"), ("example.com:8080", "example.com"), ("", "")],
)
def test_the_server_name_is_the_host_without_its_port(host: str, name: str) -> None:
    assert _host(host) == name
