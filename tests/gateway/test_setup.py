"""`scripts/setup` on machines that lack something: one line says what, in the words of their user.

The script runs in a folder of its own and sees only the programs of that folder: apt-get, sudo and
python3 there are fakes, so that nothing is installed on the machine that runs the tests.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
TOOLS: Final = "bash cat chmod cp cut dirname env grep mkdir mktemp rm sed sh sha256sum tail touch"

# Says yes to everything, and `-m venv` makes a Python that does the same.
PYTHON: Final = """\
case "$*" in
  *"-m venv"*) mkdir -p .venv/bin; cp "$0" .venv/bin/python; touch .venv/bin/pip ;;
esac
"""
SUDO: Final = 'case $1 in env) exec "$@" ;; esac'  # nothing outside the folder is touched
UNREACHABLE: Final = """\
echo "Err:1 http://deb.example bookworm/main amd64 one"
echo "  Temporary failure resolving 'deb.example'"
echo "E: Failed to fetch http://deb.example/one.deb  Temporary failure resolving 'deb.example'"
echo "E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?"
exit 100
"""


class Machine:
    """A folder with the script, and the programs it finds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        (folder / "scripts").mkdir()
        for name in ("scripts/setup", "constraints.txt", "pyproject.toml"):
            shutil.copy(ROOT / name, folder / name)
        for tool in TOOLS.split():
            found = shutil.which(tool)
            assert found, tool
            (self.bin / tool).symlink_to(found)
        self.program("id", "echo 1000")

    def program(self, name: str, script: str) -> None:
        """A program of that name that does what the shell script says."""
        file = self.bin / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def setup(self, goal: str = "lint") -> tuple[int, list[str]]:
        """How the script ended, and what it wrote."""
        ended = subprocess.run(
            [self.folder / "scripts/setup", goal],
            env={"PATH": str(self.bin), "TMPDIR": str(self.folder), "CI": "yes"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            text=True,
        )
        return ended.returncode, ended.stdout.splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_rights_one_line_names_all_that_is_missing(machine: Machine) -> None:
    machine.program("apt-get", "exit 100")

    status, said = machine.setup()

    assert status == 1
    assert said == [
        (
            "setup: missing: install python3 python3-venv "
            "(Debian, Ubuntu: apt-get install python3 python3-venv), then try again"
        )
    ]


def test_where_python3_is_too_old_a_newer_one_beside_it_is_asked_for(machine: Machine) -> None:
    machine.program("python3", "exit 1")

    status, said = machine.setup()

    assert status == 1
    assert "apt-get install python3.11 python3.11-venv" in said[0]


def test_missing_lists_of_packages_are_fetched_without_a_word(machine: Machine) -> None:
    """A container's image has none: the first `apt-get install` knows no package at all."""
    machine.program("sudo", SUDO)
    (machine.folder / "python").write_text(f"#!/bin/sh\n{PYTHON}")
    machine.program(
        "apt-get",
        'cd "$TMPDIR"\n'
        "case $1 in update) touch lists; exit ;; esac\n"
        'test -e lists || { echo "E: Unable to locate package python3"; exit 100; }\n'
        "cp python bin/python3; chmod 755 bin/python3",
    )

    status, said = machine.setup()

    assert said[0] == "setup: installing python3 python3-venv"
    assert [line.split(" with")[0] for line in said[1:]] == [
        "setup: making .venv",
        "setup: installing the Python packages of constraints.txt",
    ]
    assert status == 0
    assert machine.setup() == (0, [])  # what is done is not done again


def test_without_a_network_one_line_says_so_for_the_programs(machine: Machine) -> None:
    machine.program("sudo", SUDO)
    machine.program("apt-get", UNREACHABLE)

    status, said = machine.setup()

    assert status == 1
    assert said == [
        "setup: installing python3 python3-venv",
        "setup: could not install python3 python3-venv: Temporary failure resolving 'deb.example'",
    ]


def test_a_program_that_cannot_be_had_is_told_by_the_words_of_apt_get(machine: Machine) -> None:
    machine.program("sudo", SUDO)
    machine.program("apt-get", 'echo "E: Unable to locate package python3"; exit 100')

    status, said = machine.setup()

    assert status == 1
    assert said[1:] == [
        "setup: could not install python3 python3-venv: E: Unable to locate package python3"
    ]


@pytest.mark.parametrize(
    ("complaint", "last"),
    [
        (
            "WARNING: Retrying after connection broken by 'NewConnectionError(...)'",
            (
                "could not install the Python packages: pip reaches no package index; "
                "see .venv/pip.log"
            ),
        ),
        ("ERROR: No matching distribution", "pip could not install the packages; its message"),
    ],
)
def test_pip_s_failure_is_told(machine: Machine, complaint: str, last: str) -> None:
    failing = f'case "$*" in *"pip install"*) echo "{complaint}"; exit 1 ;; esac\n'
    machine.program("python3", PYTHON + failing)

    status, said = machine.setup()

    assert status == 1
    assert said[-1].startswith(f"setup: {last}")
    assert (complaint in said) == ("above" in said[-1])
    assert complaint in (machine.folder / ".venv/pip.log").read_text()


def test_no_file_of_its_own_is_left_behind(machine: Machine) -> None:
    before = set(machine.folder.iterdir())

    machine.setup()

    assert set(machine.folder.iterdir()) == before
