"""`wsgate check FILE`: OK, or one line for each mistake."""

import click

from gateway.config.loading import load
from gateway.errors import ConfigurationError


@click.command("check")
@click.argument("file")
def command(file: str) -> None:
    """Say whether a configuration FILE is good, or list its mistakes.

    Exits with 0 when it is good and with 1 when it is not.
    """
    try:
        load(file)
    except ConfigurationError as exc:
        click.echo(str(exc))
        raise SystemExit(1) from exc
    click.echo("OK")
