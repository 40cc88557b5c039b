"""`wsgate reference`: every key of the configuration, as Markdown."""

import click

from gateway.config.reference import markdown


@click.command("reference")
def command() -> None:
    """Print the reference of the configuration as Markdown."""
    click.echo(markdown(), nl=False)
