"""`wsgate doctor -c FILE`: asks the living system what is wrong, and says what to change."""

import asyncio
import sys
from pathlib import Path

import click

from gateway.config.loading import load
from gateway.config.model import Config
from gateway.errors import ConfigurationError

from .examination import examine
from .poolfiles import PoolFile, local_files, pool_files


@click.command(short_help="Ask the living system what is wrong.")
@click.option(
    "-c",
    "--config",
    "file",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The configuration file.",
)
@click.option(
    "--pool-file",
    "more",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A pool file of php-fpm, where it is not in a usual place; repeatable.",
)
def command(file: Path, more: tuple[Path, ...]) -> None:
    """Ask php-fpm, databases, brokers and stores, and say line by line what to change.

    Run it as the user who runs the gateway. No script of the application is executed: PHP is
    asked whether it finds, reads and can parse them, by a script of the doctor's own.

    Exits with 0 when nothing has to be changed and with 1 when something has.
    """
    try:
        config = load(file)
    except ConfigurationError as exc:
        click.echo(str(exc))
        sys.exit(1)
    sys.exit(asyncio.run(_report(config, pool_files((*more, *local_files())))))


async def _report(config: Config, pools: list[PoolFile]) -> int:
    serious = 0
    async for finding in examine(config, pools):
        click.echo(str(finding))
        serious += bool(finding.cure) and finding.serious
    click.echo(f"{serious} to change" if serious else "nothing has to be changed")
    return 1 if serious else 0
