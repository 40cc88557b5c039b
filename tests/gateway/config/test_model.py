"""The models as the rest of the gateway reads them."""

import pytest

from gateway.config.auth import TokenPlace
from gateway.config.model import Config
from gateway.config.units import Rate


def config(**keys: object) -> Config:
    return Config.model_validate(keys)


def test_a_route_has_the_client_section_it_changes_a_part_of() -> None:
    whole = config(
        client={"max_message": "2MiB", "message_rate": "50/s"},
        routes=[
            {"path": "/a", "events": [], "send_buffer": "1KiB", "client": {"ping_interval": "5s"}},
            {"path": "/b", "events": [], "message_rate": "off"},
            {"path": "/c", "events": []},
        ],
    )
    first, second, third = (whole.client_of(route) for route in whole.routes)

    assert (first.max_message, first.send_buffer, first.ping_interval) == (2 << 20, 1024, 5.0)
    assert first.message_rate == Rate(50, 1.0)
    assert second.message_rate is None
    assert third == whole.client
    assert whole.routes[0].client is first


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", "root"),
        ("/ws", "ws"),
        ("/ws/{room}", "ws-room"),
        ("/a/{rest:.*}", "a-rest"),
        ("/{rest:.*}", "rest"),
    ],
)
def test_a_route_without_a_name_is_called_after_its_path(path: str, name: str) -> None:
    assert config(routes=[{"path": path, "events": []}]).routes[0].name == name


def test_a_database_may_be_its_address_alone() -> None:
    databases = config(databases={"a": "postgresql://h/a", "b": {"dsn": "x", "timeout": "1s"}})

    assert databases.databases["a"].dsn == "postgresql://h/a"
    assert databases.databases["b"].timeout == 1.0


def test_a_token_may_be_in_several_places() -> None:
    route = {
        "path": "/a",
        "events": [],
        "auth": {"jwt": {"secret": "s", "from": ["header", "query:token", "cookie:t"]}},
    }
    jwt = config(routes=[route]).routes[0].auth.jwt

    assert jwt is not None
    assert jwt.from_ == (
        TokenPlace("header"),
        TokenPlace("query", "token"),
        TokenPlace("cookie", "t"),
    )


@pytest.mark.parametrize(
    ("jwt", "message"),
    [
        ({}, "needs secret or public_key"),
        ({"secret": "s", "public_key": "k.pem"}, "needs secret or public_key"),
        ({"secret": "s", "algorithms": ["RS256"]}, "RS256 needs public_key, but secret is set"),
        ({"public_key": "k", "algorithms": ["RS256", "HS256"]}, "HS256 needs secret"),
        ({"secret": "s", "algorithms": ["none"]}, "expected HS256"),
        ({"secret": "s", "from": ["query"]}, "expected header, query:NAME"),
    ],
)
def test_a_token_that_anybody_could_sign_is_refused(jwt: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(routes=[{"path": "/a", "events": [], "auth": {"jwt": jwt}}])


RULE = {"select": "a", "rules": {"*": {"script": "/a.php"}}}
EMPTY_RULE = {"select": "a", "rules": {"*": {}}}
BAD_SELECT = {**RULE, "select": "a..b"}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"events": []}, None),
        ({"events": [], "subscribe": "news"}, None),
        ({"client_publish": "news"}, None),
        ({"upstream": "a", "script": "/a.php"}, None),
        ({"upstream": "a", "messages": RULE}, None),
        ({}, "needs script, because PHP hears message"),
        ({"events": ["connect"], "client_publish": "x"}, "because PHP hears connect"),
        ({"script": "/a.php"}, "needs upstream"),
        ({"messages": RULE}, "needs upstream"),
        ({"upstream": "a", "script": "/a.php", "events": []}, "PHP hears nothing"),
        ({"messages": EMPTY_RULE}, "needs script or postgres"),
        ({"messages": BAD_SELECT}, "expected a dotted path"),
        ({"events": [], "messages": RULE}, "no message"),
    ],
)
def test_a_route_has_what_its_events_need(keys: dict[str, object], message: str | None) -> None:
    if message is None:
        assert config(routes=[{"path": "/a", **keys}])
    else:
        with pytest.raises(ValueError, match=message):
            config(routes=[{"path": "/a", **keys}])


@pytest.mark.parametrize(
    "origin",
    ["*", "same-origin", "https://example.com", "HTTPS://Example.com/", "https://*.example.com",
     "http://localhost:3000", "http://[::1]:80"],
)  # fmt: skip
def test_an_origin_is_exact_or_a_star(origin: str) -> None:
    assert config(client={"allowed_origins": origin}).client.allowed_origins


@pytest.mark.parametrize(
    "origin",
    ["example.com", "https://", "https://a/b", "ftp://a", "https://*example.com", "https://a.*"],
)
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(ValueError, match="expected same-origin"):
        config(client={"allowed_origins": origin})


def test_auto_is_a_worker_for_each_core() -> None:
    assert config(workers="auto").workers >= 1
