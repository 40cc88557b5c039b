"""Whose word about the client's address counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.transports.proxies import TrustedProxies, split_address

TRUSTED = TrustedProxies(["10.0.0.0/8", "127.0.0.1", "2001:db8::/32"])
NEAR = ("10.0.0.1", 4000)
FAR = ("198.51.100.9", 4000)


def origin(peer, *forwarded: str, proto: str | None = None, proxies=TRUSTED, encrypted=False):
    headers = CIMultiDict([("X-Forwarded-For", value) for value in forwarded])
    if proto is not None:
        headers["X-Forwarded-Proto"] = proto
    found = proxies.origin(peer, CIMultiDictProxy(headers), encrypted=encrypted)
    return found.address, found.port, found.scheme


def test_a_stranger_cannot_claim_another_address() -> None:
    assert origin(FAR, "1.1.1.1", proto="https") == ("198.51.100.9", 4000, "http")
    assert origin(NEAR, "1.1.1.1", proxies=TrustedProxies()) == ("10.0.0.1", 4000, "http")


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (["1.1.1.1"], ("1.1.1.1", 0)),
        (["6.6.6.6, 1.1.1.1"], ("1.1.1.1", 0)),
        (["6.6.6.6, 1.1.1.1, 10.0.0.2"], ("1.1.1.1", 0)),
        (["6.6.6.6", "1.1.1.1, 10.0.0.2"], ("1.1.1.1", 0)),
        (["10.0.0.3, 10.0.0.2"], ("10.0.0.3", 0)),
        (["1.1.1.1:8080"], ("1.1.1.1", 8080)),
        (["[2001:4860::1]:443"], ("2001:4860::1", 443)),
        (["[2001:4860::1]"], ("2001:4860::1", 0)),
        (["2001:4860::1"], ("2001:4860::1", 0)),
        (["2001:4860::1, 2001:db8::5"], ("2001:4860::1", 0)),
        (["::ffff:1.1.1.1"], ("1.1.1.1", 0)),
        (["unknown"], ("10.0.0.1", 4000)),
        (["1.1.1.1, nonsense, 10.0.0.2"], ("10.0.0.2", 0)),
        ([""], ("10.0.0.1", 4000)),
        (["1.1.1.1:99999999"], ("1.1.1.1", 0)),
        (["1.1.1.1\t"], ("1.1.1.1", 0)),
    ],
)
def test_the_walk_goes_from_the_right_to_the_first_untrusted(forwarded, client) -> None:
    assert origin(NEAR, *forwarded)[:2] == client


@pytest.mark.parametrize(
    ("proto", "scheme"),
    [("https", "https"), ("WSS", "https"), ("http", "http"), ("ws", "http"), ("gopher", "http")],
)
def test_the_scheme_is_what_the_proxy_says(proto, scheme) -> None:
    assert origin(NEAR, "1.1.1.1", proto=proto)[2] == scheme


def test_in_a_chain_the_scheme_is_that_of_the_clients_own_hop() -> None:
    assert origin(NEAR, "1.1.1.1, 10.0.0.2", proto="https, http")[2] == "https"
    assert origin(NEAR, "6.6.6.6, 1.1.1.1", proto="https, http")[2] == "http"
    assert origin(NEAR, proto="https")[2] == "https"


def test_our_own_tls_is_known_without_a_proxy() -> None:
    assert origin(FAR, encrypted=True) == ("198.51.100.9", 4000, "https")
    assert origin(NEAR, "1.1.1.1", proto="http", encrypted=True)[2] == "http"


@pytest.mark.parametrize("name", ["unix:", "unix"])
def test_a_peer_on_a_unix_socket_counts_only_when_configured(name) -> None:
    for peer in ("", None, b"", "/run/x.sock"):
        assert origin(peer, "1.1.1.1") == ("unix:", 0, "http")
        assert origin(peer, "1.1.1.1", proxies=TrustedProxies([name]))[0] == "1.1.1.1"


def test_addresses_come_without_zone_and_without_mapping() -> None:
    assert split_address(("fe80::1%eth0", 1, 0, 2)) == ("fe80::1", 1)
    assert split_address(("::ffff:1.2.3.4", 5, 0, 0)) == ("1.2.3.4", 5)


def test_a_network_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        TrustedProxies(["nonsense"])


@given(st.lists(st.text(max_size=60), max_size=5), st.text(max_size=20))
def test_no_header_value_can_do_harm(forwarded, proto) -> None:
    address, port, scheme = origin(NEAR, *forwarded, proto=proto)
    assert address
    assert 0 <= port < 100_000
    assert scheme in {"http", "https"}


def test_a_very_long_chain_is_not_walked_to_its_end() -> None:
    assert origin(NEAR, ", ".join(["6.6.6.6"] + ["10.0.0.2"] * 10_000))[0] == "10.0.0.2"
