"""`wsgate schema`, and the command as a whole."""

import json
import subprocess
import sys

from click.testing import CliRunner

from gateway.cli.main import COMMANDS, LazyGroup, main


def test_the_schema_is_json() -> None:
    result = CliRunner().invoke(main, ["schema"])

    assert result.exit_code == 0
    assert json.loads(result.output)["title"] == "wsgate"


def test_the_help_imports_no_command() -> None:
    """So that it is there at once."""
    code = (
        "import sys\nfrom gateway.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted(name for name in ('pydantic', 'aiohttp', 'yaml') if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert "check" in done.stdout
    assert done.stdout.endswith("[]\n")


def test_each_command_that_is_listed_is_there() -> None:
    assert isinstance(main, LazyGroup)
    with main.make_context("wsgate", ["check", "x"]) as context:
        names = main.list_commands(context)
        commands = [main.get_command(context, name) for name in names]

    assert {"check", "schema", "reference"} <= set(names) <= set(COMMANDS)
    assert all(command is not None and command.help for command in commands)


def test_a_command_that_does_not_exist_is_an_error() -> None:
    result = CliRunner().invoke(main, ["nonsense"])

    assert result.exit_code == 2
    assert "No such command" in result.output


def test_the_version_is_said() -> None:
    assert CliRunner().invoke(main, ["--version"]).output.startswith("wsgate ")
