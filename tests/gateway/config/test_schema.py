"""What editors are told of the file."""

from gateway.config.client import Client
from gateway.config.schema import json_schema
from gateway.config.sections import keys_of, walk


def test_it_knows_every_key_and_explains_it() -> None:
    schema = json_schema()

    for path, section in walk():
        own = schema["$defs"][section.__name__] if path else schema
        own = own["anyOf"][1] if "anyOf" in own else own
        for key in keys_of(section):
            assert own["properties"][key]["description"], (path, key)
        assert own["additionalProperties"] is False


def test_a_route_may_hold_keys_of_client() -> None:
    assert json_schema()["$defs"]["Route"]["properties"].keys() >= keys_of(Client).keys()


def test_defaults_are_written_as_in_the_file() -> None:
    client = json_schema()["$defs"]["Client"]["properties"]

    assert client["max_message"]["default"] == "1MiB"
    assert client["ping_interval"]["default"] == "25s"
    assert client["idle_timeout"]["default"] == "off"
    assert client["disconnect_rate"]["default"] == "100/s"
    assert client["allowed_origins"]["default"] == ["same-origin"]
    assert json_schema()["$defs"]["Upstream"]["properties"]["max_connections"]["default"] == 4
