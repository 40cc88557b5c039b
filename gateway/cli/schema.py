"""`wsgate schema`: the JSON Schema of the configuration, for editors."""

import json

import click

from gateway.config.schema import json_schema


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of the configuration.

    Editors that know the YAML language server complete and check a file that begins with
    `# yaml-language-server: $schema=wsgate.schema.json`.
    """
    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
