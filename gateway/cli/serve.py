"""`wsgate serve -c FILE`: runs what the YAML says."""

import sys
from pathlib import Path

import click

from gateway.config.loading import load
from gateway.errors import ConfigurationError


@click.command(short_help="Run what the YAML says.")
@click.option(
    "-c",
    "--config",
    "file",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The configuration file.",
)
def command(file: Path) -> None:
    """Run what FILE says. SIGTERM drains, SIGHUP reads the file anew."""
    try:
        config = load(file)
        if config.workers > 1:
            # What a supervisor does not need it does not load either.
            from gateway.server.many import run_many  # noqa: PLC0415

            sys.exit(run_many(config, load=lambda: load(file)))
        from gateway.server.run import run  # noqa: PLC0415

        sys.exit(run(config, load=lambda: load(file)))
    except ConfigurationError as exc:
        click.echo(str(exc), err=True)
        sys.exit(1)
