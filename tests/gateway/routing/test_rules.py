"""The rule of a message, by one field of its JSON body."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.routes import Messages
from gateway.routing.rules import MessageRules

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def rules(select: str, *names: str) -> MessageRules:
    return MessageRules(
        Messages.model_validate(
            {"select": select, "rules": {name: {"script": "/x.php"} for name in names}}
        )
    )


def chosen(table: MessageRules, payload: bytes | str, *, text: bool = True) -> str | None:
    choice = table.choose(payload.encode() if isinstance(payload, str) else payload, text=text)
    return choice.name if choice else None


@pytest.mark.parametrize(
    ("payload", "rule"),
    [
        ('{"action":"stats"}', "stats"),
        (' { "x" : [1, {"action": "a"}] , "action" : "stats" } ', "stats"),
        ('{"action":"st\\u0061ts"}', "stats"),
        ('{"\\u0061ction":"stats"}', "stats"),
        ('{"action":"é\\n"}', "é\n"),
        ('{"action":1}', "1"),
        ('{"action":"1"}', "1"),
        ('{"action":true}', "true"),
        ('{"action":null}', "*"),
        ('{"action":{"stats":1}}', "*"),
        ('{"action":["stats"]}', "*"),
        ('{"action":"other"}', "*"),
        ('{"action":"*"}', "*"),
        ('{"action":""}', "*"),
        ('{"x":{"action":"stats"}}', "*"),
        ('{"action":"a","action":"stats"}', "stats"),
        ("[]", "*"),
        ('"stats"', "*"),
        ("stats", "*"),
        ("", "*"),
        ('{"action":"stats"', "*"),
        ('{"action":"stats"} {}', "*"),
        ('{"action":NaN}', "*"),
        ('{"action":"\\ud800"}', "*"),
        ('{"action":' + "9" * 10000 + "}", "*"),
        ('{"action":"' + "x" * 100000 + '"}', "*"),
        ("[" * 100000, "*"),
        ('{"action":' + "[" * 100000, "*"),
        ('{"x":' * 100000, "*"),
        ("{" + ",".join(f'"{n}":0' for n in range(100000)) + ',"action":"stats"}', "stats"),
    ],
    ids=lambda value: value[:24],
)
def test_every_message_has_a_rule(payload: str, rule: str) -> None:
    table = rules("action", "stats", "é\n", "1", "true", "*")

    assert chosen(table, payload) == rule


@pytest.mark.parametrize(
    ("payload", "rule"),
    [
        ('{"body":{"type":{"name":"a"}}}', "a"),
        ('{"body":{"type":"a"}}', "*"),
        ('{"body":null}', "*"),
        ('{"body":{}}', "*"),
        ('{"type":{"name":"a"}}', "*"),
    ],
)
def test_a_dotted_path_leads_into_the_body(payload: str, rule: str) -> None:
    assert chosen(rules("body.type.name", "a", "*"), payload) == rule


def test_a_field_may_have_any_name() -> None:
    assert chosen(rules("class", "a"), '{"class":"a"}') == "a"
    assert chosen(rules("$é-1", "a"), '{"$é-1":"a"}') == "a"


def test_without_a_star_there_may_be_no_rule() -> None:
    table = rules("action", "stats")

    assert chosen(table, '{"action":"other"}') is None
    assert chosen(table, "nothing") is None


def test_a_binary_message_is_never_json() -> None:
    table = rules("action", "stats", "*")

    assert chosen(table, '{"action":"stats"}', text=False) == "*"
    assert chosen(table, b"\xff\x00", text=False) == "*"


@given(
    payload=st.binary() | st.text().map(str.encode) | JSON.map(lambda it: json.dumps(it).encode())
)
def test_no_message_is_too_strange(payload: bytes) -> None:
    assert chosen(rules("a.b", "x", "*"), payload) == "*"


@given(value=st.text(max_size=30), other=st.dictionaries(st.text(), st.text(), max_size=3))
def test_however_the_value_is_escaped_its_rule_is_found(value: str, other: dict[str, str]) -> None:
    table = rules("action", *{value, "*"})

    for ascii_only in (True, False):
        body = json.dumps(other | {"action": value}, ensure_ascii=ascii_only)
        assert chosen(table, body) == value
