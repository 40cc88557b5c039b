"""`wsgate token`: sign a JWT by hand, for development."""

import json
import time
import warnings
from typing import Any, Final

import click
import jwt
from jwt.warnings import InsecureKeyLengthWarning

from gateway.config import units

_OWN_OPTIONS: Final = frozenset({"sub", "channels", "iat", "exp"})


def _lifetime(_context: click.Context, _parameter: click.Parameter, value: str) -> float | None:
    try:
        return units.or_off(units.positive_duration)(value)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from exc


def _claims(
    _context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]
) -> dict[str, Any]:
    """The claims of `name=value` texts; a value is JSON where it reads as JSON, else text."""
    claims: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise click.BadParameter(f'expected NAME=VALUE, got "{text}"')
        if name in _OWN_OPTIONS:
            raise click.BadParameter(f"{name} has an option of its own")
        try:
            claims[name] = json.loads(value)
        except ValueError:
            claims[name] = value
    return claims


@click.command()
@click.option(
    "--secret", envvar="WSGATE_JWT_SECRET", required=True, help="What auth.jwt.secret is."
)
@click.option("--user", required=True, help="Who the token is for (the claim sub).")
@click.option("--channel", "channels", multiple=True, help="Into the claim channels; repeatable.")
@click.option("--expires", default="1h", show_default=True, callback=_lifetime, help="Or off.")
@click.option(
    "--claim",
    "claims",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_claims,
    help="A further claim, JSON or text; repeatable.",
)
@click.option(
    "--algorithm",
    type=click.Choice(["HS256", "HS384", "HS512"]),
    default="HS256",
    show_default=True,
    help="The signature.",
)
def token(
    *,
    secret: str,
    user: str,
    channels: tuple[str, ...],
    expires: float | None,
    claims: dict[str, Any],
    algorithm: str,
) -> None:
    """Sign a JWT for a user and channels, and print it.

    For development: in production the application signs, where it knows who is logged in.
    """
    now = int(time.time())
    payload: dict[str, Any] = {**claims, "sub": user, "iat": now}
    if channels:
        payload["channels"] = list(channels)
    if expires is not None:
        payload["exp"] = now + round(expires)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InsecureKeyLengthWarning)
        signed = jwt.encode(payload, secret, algorithm=algorithm)
    if any(issubclass(warning.category, InsecureKeyLengthWarning) for warning in caught):
        click.echo(f"The secret is too short to be safe with {algorithm}.", err=True)
    click.echo(signed)
