"""Keys that nothing serves are refused, never ignored."""

import pytest

from gateway.config.sections import keys_of, section_at
from gateway.config.unserved import UNSERVED, find_unserved


@pytest.mark.parametrize(("key", "_asks", "feature"), UNSERVED)
def test_the_table_names_keys_that_exist(key: str, _asks: object, feature: str) -> None:
    assert feature
    parts = [0 if part == "*" else part for part in key.split(".")]
    section = section_at(parts[:-1])

    known = keys_of(section) if section else {}
    assert parts[-1] in known or key.startswith("routes.*.compression")


def test_a_key_that_is_switched_off_asks_for_nothing() -> None:
    data = {
        "workers": "1",
        "broker": {"type": "memory"},
        "client": {"compression": "off"},
        "routes": [{"stream": "off", "transports": ["websocket"], "auth": {"required": "no"}}],
        "sources": [],
        "databases": None,
    }

    assert list(find_unserved(data)) == []


def test_each_is_found_at_its_place() -> None:
    """With a table of its own, so that this stays true when the last feature is built."""
    data = {"routes": [{}, {"a": {"x": "on"}}], "b": "2"}
    table = (
        ("routes.*.a.*", lambda value: value == "on", "things"),
        ("b", lambda value: value != "1", "numbers"),
    )

    assert list(find_unserved(data, table)) == [
        (("routes", 1, "a", "x"), "not built yet: things"),
        (("b",), "not built yet: numbers"),
    ]
