"""The private php-fpm: found, started, and never left behind."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.server.phpfpm import (
    PhpFpmError,
    PhpFpmNotFoundError,
    PrivatePhpFpm,
    find_php_fpm,
    installation_hint,
)

needs_php_fpm = pytest.mark.skipif(find_php_fpm() is None, reason="needs php-fpm")


def program(path: Path) -> Path:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def members(group: int) -> list[int]:
    """The living processes of a process group."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(entry.name))
    return found


def wait_until_gone(group: int) -> None:
    deadline = time.monotonic() + 10
    while members(group):
        assert time.monotonic() < deadline, f"still alive: {members(group)}"
        time.sleep(0.02)


class TestFinding:
    @pytest.fixture(autouse=True)
    def only_this_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr("gateway.server.phpfpm._DAEMON_FOLDERS", ())

    def test_the_plain_name_comes_first(self, tmp_path: Path) -> None:
        program(tmp_path / "php-fpm8.4")
        plain = program(tmp_path / "php-fpm")

        assert find_php_fpm() == plain

    def test_else_the_newest_version(self, tmp_path: Path) -> None:
        program(tmp_path / "php-fpm8.2")
        newest = program(tmp_path / "php-fpm8.10")
        program(tmp_path / "php-fpm83")
        program(tmp_path / "php-fpm-helper")

        assert find_php_fpm() == newest

    def test_a_file_that_may_not_be_executed_is_passed_over(self, tmp_path: Path) -> None:
        (tmp_path / "php-fpm").write_text("")

        assert find_php_fpm() is None

    def test_without_one_the_error_names_the_package(self, tmp_path: Path) -> None:
        with (
            pytest.raises(PhpFpmNotFoundError, match="php-fpm is not installed; install"),
            PrivatePhpFpm(tmp_path, children=1, on_line=print),
        ):
            pass


@pytest.mark.parametrize(
    ("release", "command"),
    [
        ("ID=debian", "apt-get install php-fpm"),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"', "apt-get install php-fpm"),
        ("ID=fedora", "dnf install php-fpm"),
        ("ID=alpine", "apk add php83-fpm"),
        ("ID=plan9", "your distribution's package"),
    ],
)
def test_the_hint_fits_the_distribution(tmp_path: Path, release: str, command: str) -> None:
    file = tmp_path / "os-release"
    file.write_text(release)

    assert command in installation_hint(file)


@needs_php_fpm
class TestRunning:
    def test_stopping_ends_every_child_and_removes_the_folder(self, tmp_path: Path) -> None:
        lines: list[str] = []
        with PrivatePhpFpm(tmp_path, children=3, on_line=lines.append) as php_fpm:
            group, folder = php_fpm.pid, php_fpm.folder
            assert stat.S_ISSOCK(php_fpm.socket.stat().st_mode)
            assert len(members(group)) >= 1

        assert members(group) == []
        assert not folder.exists()
        assert any("ready to handle connections" in line for line in lines)

    def test_a_master_that_is_killed_takes_its_children_along_and_is_told(
        self, tmp_path: Path
    ) -> None:
        exits: list[int] = []
        with PrivatePhpFpm(
            tmp_path, children=2, on_line=lambda _: None, on_exit=exits.append
        ) as php_fpm:
            group = php_fpm.pid
            os.kill(group, signal.SIGKILL)
            wait_until_gone(group)

        assert exits == [-signal.SIGKILL]

    def test_a_pool_that_cannot_start_says_why_and_leaves_nothing(self, tmp_path: Path) -> None:
        php_fpm = PrivatePhpFpm(tmp_path, children=0, on_line=lambda _: None)

        with pytest.raises(PhpFpmError, match=r"php-fpm did not start: .*max_children"), php_fpm:
            pass
        assert php_fpm.folder == Path()

    def test_a_gateway_that_is_killed_takes_php_fpm_along(self, tmp_path: Path) -> None:
        """Nothing of ours runs any more then; the kernel tells the master."""
        program = f"""
import time
from pathlib import Path
from gateway.server.phpfpm import PrivatePhpFpm
with PrivatePhpFpm(Path({str(tmp_path)!r}), children=2, on_line=lambda _: None) as php_fpm:
    print(php_fpm.pid, flush=True)
    time.sleep(60)
"""
        gateway = subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        assert gateway.stdout is not None
        group = int(gateway.stdout.readline())
        gateway.kill()
        gateway.wait()
        gateway.stdout.close()

        wait_until_gone(group)
