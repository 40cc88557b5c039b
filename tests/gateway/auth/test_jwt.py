"""Tokens in handshakes: which are valid, and who their bearer is."""

import base64
import json
import warnings
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.jwt import MAX_TOKEN, Token, Tokens
from gateway.config.auth import Jwt
from gateway.errors import ConfigurationError
from gateway.sessions.client import Handshake, TransportKind

SECRET = "a secret that is long enough for a token of HS256"
NOW = 1_700_000_000


def tokens(**settings: Any) -> Tokens:
    chosen = {"secret": SECRET, **settings}
    return Tokens(Jwt.model_validate({k: v for k, v in chosen.items() if v}), lambda: NOW)


def signed(claims: dict[str, Any], key: Any = SECRET, algorithm: str = "HS256", **more: Any) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return jwt.encode(claims, key, algorithm=algorithm, **more)


def segment(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def hmac_signed(header: bytes, payload: bytes) -> str:
    """A token with this very header and payload, rightly signed."""
    text = f"{segment(header)}.{segment(payload)}"
    algorithm = jwt.PyJWS().get_algorithm_by_name("HS256")
    return f"{text}.{segment(algorithm.sign(text.encode(), SECRET.encode()))}"


def handshake(
    *headers: tuple[str, str], query: str = "", offers: tuple[str, ...] = ()
) -> Handshake:
    return Handshake(
        TransportKind.WEBSOCKET, "/ws", query, headers, "1.2.3.4", 1, "h", 80, "http", "1.1", offers
    )


def test_a_valid_token_gives_the_user_and_the_claims() -> None:
    claims = {"sub": "ana", "exp": NOW + 60, "role": "admin", "channels": ["room.1", "news.*"]}
    token = tokens().read(signed(claims))
    assert token is not None
    assert (token.user, token.expires_at) == ("ana", NOW + 60)
    assert token.channels == ("room.1", "news.*")
    assert json.loads(token.claims) == claims


@pytest.mark.parametrize(("sub", "user"), [("42", "42"), (42, "42"), (None, "")])
def test_a_user_may_be_a_number_or_nobody(sub, user) -> None:
    token = tokens().read(hmac_signed(b'{"alg":"HS256"}', json.dumps({"sub": sub}).encode()))
    assert token is not None
    assert token.user == user


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "a", "exp": NOW},
        {"sub": "a", "exp": NOW - 3600},
        {"sub": "a", "nbf": NOW + 1},
        {"sub": "a", "exp": "tomorrow"},
        {"sub": "a", "exp": True},
        {"sub": ["a"]},
        {"sub": True},
        {"sub": "a\nb"},
        {"sub": "a\0b"},
        {"sub": "a" * 1025},
    ],
)
def test_a_token_that_is_not_in_force_or_names_no_user_is_none(claims) -> None:
    assert tokens().read(hmac_signed(b'{"alg":"HS256"}', json.dumps(claims).encode())) is None


@pytest.mark.parametrize(
    "header",
    [
        b'{"alg":"none"}',
        b'{"alg":"None"}',
        b'{"alg":"HS512"}',
        b'{"alg":"RS256"}',
        b"{}",
        b'{"alg":"HS256","crit":["x"],"x":1}',
        b'{"alg":"HS256","crit":[]}',
        b'{"alg":"HS256","b64":false}',
        b'{"alg":["HS256"]}',
        b"[]",
        b"not json",
        b"[" * 5000,
    ],
)
def test_a_header_cannot_choose_how_it_is_verified(header) -> None:
    assert tokens().read(hmac_signed(header, b'{"sub":"a"}')) is None


def test_without_signature_there_is_no_token() -> None:
    text = hmac_signed(b'{"alg":"HS256"}', b'{"sub":"a"}')
    body = text.rpartition(".")[0]
    for forged in (
        f"{body}.",
        body,
        f"{text[:-4]}AAAA",
        segment(b"{}") + "." + text.partition(".")[2],
    ):
        assert tokens().read(forged) is None


@pytest.mark.parametrize(
    "payload", [b"[]", b"null", b"{", b'{"a":NaN}', b'{"a":' * 3000, b'{"sub":"\xff"}', b""]
)
def test_claims_that_are_no_json_object_are_none(payload) -> None:
    assert tokens().read(hmac_signed(b'{"alg":"HS256"}', payload)) is None


def test_a_token_of_a_megabyte_is_not_even_decoded() -> None:
    assert tokens().read(signed({"sub": "a", "fill": "x" * MAX_TOKEN})) is None
    assert tokens().read("e" * 1024 * 1024) is None


def test_audience_and_issuer_must_be_the_configured_ones_where_there_are_any() -> None:
    strict = tokens(audience="chat", issuer="https://app")
    good = {"sub": "a", "aud": "chat", "iss": "https://app"}
    assert strict.read(signed(good))
    assert strict.read(signed({**good, "aud": ["mail", "chat"]}))
    for bad in ({"aud": "mail"}, {"iss": "https://evil"}, {"aud": None}, {"iss": 7}):
        text = json.dumps({**good, **bad}).encode()
        assert strict.read(hmac_signed(b'{"alg":"HS256"}', text)) is None
    assert tokens().read(signed({**good, "aud": "anything"}))


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def public(key: Any) -> bytes:
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(key.public_key().public_bytes(encoding, form))


def test_a_public_key_verifies_and_never_serves_as_a_secret(rsa_key, tmp_path) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(public(rsa_key))
    reader = tokens(secret="", public_key=str(file), algorithms=["RS256"])
    assert reader.read(signed({"sub": "a"}, rsa_key, "RS256")) is not None

    text = segment(b'{"alg":"HS256"}') + "." + segment(b'{"sub":"root"}')
    algorithm = jwt.PyJWS().get_algorithm_by_name("HS256")
    assert reader.read(f"{text}.{segment(algorithm.sign(text.encode(), public(rsa_key)))}") is None
    other = rsa.generate_private_key(65537, 2048)
    assert reader.read(signed({"sub": "a"}, other, "RS256", headers={"kid": "theirs"})) is None


def test_a_key_that_does_not_suit_an_algorithm_is_refused_at_start(rsa_key, tmp_path) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(public(rsa_key))
    with pytest.raises(ConfigurationError, match="ES256"):
        tokens(secret="", public_key=str(file), algorithms=["RS256", "ES256"])
    file.write_bytes(b"no key")
    with pytest.raises(ConfigurationError, match="RS256"):
        tokens(secret="", public_key=str(file), algorithms=["RS256"])


def test_an_elliptic_key_verifies(tmp_path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    file = tmp_path / "key.pem"
    file.write_bytes(public(key))
    reader = tokens(secret="", public_key=str(file), algorithms=["ES256"])
    assert reader.read(signed({"sub": "a"}, key, "ES256")) is not None


def test_a_short_secret_works_and_is_told_of_once() -> None:
    reader = tokens(secret="secret")
    assert reader.read(signed({"sub": "a"}, "secret")) is not None


TOKEN = signed({"sub": "ana"})


@pytest.mark.parametrize(
    ("place", "arrives"),
    [
        ("header", handshake(("authorization", f"Bearer {TOKEN}"))),
        ("header", handshake(("authorization", f"bearer  {TOKEN}"))),
        ("query:token", handshake(query=f"a=1&token={TOKEN}")),
        ("cookie:token", handshake(("cookie", f"x=1; token={TOKEN}"))),
        ("subprotocol", handshake(offers=("chat", TOKEN))),
        ("subprotocol", handshake(offers=("chat", f"bearer.{TOKEN}"))),
    ],
)
def test_a_token_is_found_in_its_place_and_in_no_other(place, arrives) -> None:
    found = tokens(**{"from": [place]}).find(arrives)
    assert found is not None
    assert found.user == "ana"
    for other in {"header", "query:token", "cookie:token", "subprotocol"} - {place}:
        assert tokens(**{"from": [other]}).find(arrives) is None


def test_the_offer_that_carries_the_token_is_named() -> None:
    found = tokens(**{"from": ["subprotocol"]}).find(handshake(offers=("chat", f"bearer.{TOKEN}")))
    assert found is not None
    assert found.offer == f"bearer.{TOKEN}"


def test_a_stale_token_in_one_place_does_not_hide_a_good_one_in_another() -> None:
    stale = signed({"sub": "old", "exp": NOW - 1})
    reader = tokens(**{"from": ["cookie:t", "query:t"]})
    found = reader.find(handshake(("cookie", f"t={stale}"), query=f"t={TOKEN}"))
    assert found is not None
    assert found.user == "ana"


@given(st.text(max_size=200))
def test_whatever_stands_there_is_a_token_or_none(text) -> None:
    assert tokens().read(text) is None or isinstance(tokens().read(text), Token)


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_whatever_is_rightly_signed_is_a_token_or_none(header, payload) -> None:
    tokens().read(hmac_signed(header, payload))
