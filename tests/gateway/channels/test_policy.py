import pytest

from gateway.channels import policy
from gateway.channels.broker import ChannelRules
from gateway.channels.policy import DEFAULTS, ChannelPolicy, Policies
from gateway.errors import ChannelNameError


def test_the_first_entry_that_matches_counts() -> None:
    first = ChannelPolicy("room.1", ChannelRules(presence=True))
    second = ChannelPolicy("room.*", ChannelRules(explicit=True))
    policies = Policies([first, second])

    assert policies.of("room.1") is first
    assert policies.of("room.2") is second


def test_a_channel_that_no_entry_matches_has_the_defaults() -> None:
    assert Policies().of("room.1") is DEFAULTS
    assert DEFAULTS.rules == ChannelRules()


def test_a_bad_name_is_refused_however_often_it_is_asked_for() -> None:
    policies = Policies([ChannelPolicy("*")])

    for _ in range(2):
        with pytest.raises(ChannelNameError):
            policies.of("a b")


def test_the_memory_for_names_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "_REMEMBERED", 10)
    policies = Policies([ChannelPolicy("room.*", ChannelRules(presence=True))])

    for n in range(1000):
        assert policies.of(f"room.{n}").rules.presence

    assert len(policies._known) <= 10
