"""Who a client is, by a token in its handshake."""

from dataclasses import dataclass
from typing import Annotated, Final, Self

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from . import units
from .fields import File, OneOrMany, Scalar, Secret, Section, Switch, Text, word

_PLACES: Final = {"header": False, "query": True, "cookie": True, "subprotocol": False}
_ALGORITHMS: Final = (
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
    "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TokenPlace:
    """Where a handshake carries a token; `name` is empty for `header` and `subprotocol`."""

    kind: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind


def _place(value: object) -> TokenPlace:
    if isinstance(value, TokenPlace):
        return value
    kind, colon, name = units.text(value).partition(":")
    if kind not in _PLACES or bool(colon and name) != _PLACES[kind]:
        raise ValueError(
            f"expected header, query:NAME, cookie:NAME or subprotocol, got {units.shown(value)}"
        )
    return TokenPlace(kind, name)


class Jwt(Section):
    """A signed token; exactly one of `secret` and `public_key`."""

    secret: Secret = Field(default="", description="The shared secret of the HS algorithms.")
    public_key: File | None = Field(
        default=None, description="PEM file with the public key of the other algorithms."
    )
    algorithms: Annotated[tuple[Annotated[str, *word(*_ALGORITHMS)], ...], OneOrMany] = Field(
        default=("HS256",), min_length=1, description="The signatures that are accepted."
    )
    from_: Annotated[
        tuple[
            Annotated[
                TokenPlace,
                PlainValidator(_place),
                WithJsonSchema({"type": "string"}),
                Scalar("token place", str),
            ],
            ...,
        ],
        OneOrMany,
    ] = Field(
        default=(TokenPlace("header"),),
        alias="from",
        min_length=1,
        description="Where the token is looked for, in this order: `header` (Authorization: "
        "Bearer), `query:NAME`, `cookie:NAME`, `subprotocol` (an offer that is the token, bare or "
        "after `bearer.`). The first valid one counts.",
    )
    audience: Text = Field(default="", description="The `aud` a token must have, when set.")
    issuer: Text = Field(default="", description="The `iss` a token must have, when set.")

    @model_validator(mode="after")
    def _key_fits_algorithms(self) -> Self:
        if bool(self.secret) == bool(self.public_key):
            raise ValueError("needs secret or public_key, one of them")
        # A public key that also counts as a shared secret would let anybody sign.
        if wrong := [one for one in self.algorithms if one.startswith("HS") != bool(self.secret)]:
            has, needs = ("secret", "public_key") if self.secret else ("public_key", "secret")
            raise ValueError(f"{wrong[0]} needs {needs}, but {has} is set")
        return self


class Auth(Section):
    """How clients of a route are known; the `connect` event gives PHP the last word."""

    required: Switch = Field(
        default=False, description="Refuse a handshake without a valid token (401)."
    )
    jwt: Jwt | None = Field(
        default=None,
        description="A token that gives `user` (its `sub`) and claims. Its claim `channels`, a "
        "list of names or patterns, adds to `client_subscribe`; at its `exp` the connection is "
        "closed (4401). Default: none.",
    )

    @model_validator(mode="after")
    def _required_token_can_exist(self) -> Self:
        if self.required and self.jwt is None:
            raise ValueError("required needs jwt, so that there can be a valid token")
        return self
