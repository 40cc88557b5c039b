"""`wsgate check FILE`."""

from pathlib import Path

from click.testing import CliRunner

from gateway.cli.main import main


def test_a_good_file_is_ok(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("workers: 1")

    result = CliRunner().invoke(main, ["check", str(tmp_path / "a.yaml")])

    assert (result.exit_code, result.output) == (0, "OK\n")


def test_each_mistake_is_a_line_and_the_exit_code_is_1(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("workers: x\nlisten: y\n")

    result = CliRunner().invoke(main, ["check", str(file)])

    assert result.exit_code == 1
    assert result.output.splitlines() == [
        f'{file}:1: workers: expected a number or auto, got "x"',
        f'{file}:2: listen: expected host:port or unix:/path, got "y"',
    ]


def test_a_file_that_is_missing_is_one_line() -> None:
    result = CliRunner().invoke(main, ["check", "nowhere.yaml"])

    assert (result.exit_code, result.output) == (1, "nowhere.yaml: no such file\n")
