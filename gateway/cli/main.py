"""The command `wsgate`; each command is a module here, loaded when it is asked for."""

import importlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import click

# In the order of the help; what has no module here is not offered.
COMMANDS: Final = {
    "dev": "Serve a folder of PHP files, php-fpm included; needs no configuration.",
    "serve": "Run what a configuration file says.",
    "check": "Say whether a configuration file is good, or list its mistakes.",
    "doctor": "Ask the living system what is wrong, and say what to change.",
    "console": "Talk to a gateway: type a line, see frames.",
    "publish": "Publish to a channel through the internal API.",
    "status": "Show what a running gateway knows.",
    "token": "Sign a JWT for a user and channels, for development.",
    "bench": "Put load on a handler and measure it.",
    "schema": "Print the JSON Schema of the configuration.",
    "reference": "Print the reference of the configuration as Markdown.",
}


class LazyGroup(click.Group):
    """Commands by name: the help is printed without importing any of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The commands whose module is there."""
        here = Path(__file__).parent
        return [name for name in COMMANDS if (here / f"{name}.py").is_file()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"gateway.cli.{cmd_name}")
        # The module calls it `command`, or by its own name.
        command: click.Command = getattr(module, "command", None) or getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in the help, from the table above."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])


def _version() -> str:
    try:
        return version("wsgate")
    except PackageNotFoundError:
        return "not installed"


def _print_version(ctx: click.Context, _option: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        click.echo(f"wsgate {_version()}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    help="The WebSocket door for php-fpm: every frame becomes one FastCGI request.",
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "WSGATE"},
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Run the command that was asked for."""


if __name__ == "__main__":
    main()
