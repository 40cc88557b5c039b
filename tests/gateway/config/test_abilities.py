"""What the configuration says of the brokers is what they say of themselves."""

from dataclasses import asdict
from pathlib import Path

import pytest

from gateway.brokers.memory import MemoryBroker
from gateway.brokers.nats import NatsBroker
from gateway.brokers.redis import RedisBroker
from gateway.config.abilities import ABILITIES, find_unable
from gateway.config.loading import parse
from gateway.errors import ConfigurationError


@pytest.mark.parametrize(
    ("kind", "broker"), [("memory", MemoryBroker), ("redis", RedisBroker), ("nats", NatsBroker)]
)
def test_the_table_repeats_what_the_brokers_say(kind, broker) -> None:
    able = {name for name, has in asdict(broker.abilities).items() if has}

    assert ABILITIES[kind] == able


def test_a_channel_that_asks_for_more_than_its_broker_has_is_refused_at_its_line() -> None:
    text = """\
upstreams: {app: {address: "unix:/run/php.sock", document_root: /srv}}
routes: [{path: /ws, upstream: app, script: /ws.php}]
broker: {type: nats, url: "nats://127.0.0.1:4222"}
channels:
  - match: "room.*"
    presence: on
"""

    with pytest.raises(ConfigurationError) as caught:
        parse(text, name="wsgate.yaml", folder=Path("/"), environ={})

    (problem,) = caught.value.problems
    assert problem.startswith("wsgate.yaml:6: channels[0].presence: a broker of type nats has no")
    assert problem.endswith("memory or redis has")


@pytest.mark.parametrize(
    "channel",
    [
        {"create": "explicit"},
        {"max_subscribers": "5"},
        {"max_subscribers": 5},
        {"presence": "on"},
        {"presence": True},
    ],
)
def test_nats_refuses(channel) -> None:
    data = {"broker": {"type": "nats"}, "channels": [{"match": "*", **channel}]}

    assert [path for path, _ in find_unable(data)] == [("channels", 0, next(iter(channel)))]


@pytest.mark.parametrize(
    "channel",
    [
        {"create": "auto", "max_subscribers": "off", "presence": "off"},
        {"history": {"size": 5, "ttl": "10m"}},
        {"max_subscribers": "many", "presence": "perhaps", "history": 5},
        "no mapping",
    ],
)
def test_nats_takes_or_leaves_to_others(channel) -> None:
    assert list(find_unable({"broker": {"type": "nats"}, "channels": [channel]})) == []


@pytest.mark.parametrize("kind", ["memory", "redis", "unknown", None, 5, []])
def test_others_refuse_nothing(kind) -> None:
    channels = [{"create": "explicit", "max_subscribers": 5, "presence": "on"}]

    assert list(find_unable({"broker": {"type": kind}, "channels": channels})) == []
