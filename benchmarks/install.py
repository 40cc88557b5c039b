"""Getting peers from the distribution and from npm, with this machine's own settings."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

_TIMEOUT = 600


def packages(names: Sequence[str], *, may_install: bool) -> str | None:
    """Installs what is missing of these Debian packages; a line of explanation if it cannot."""
    absent = [name for name in names if not _installed(name)]
    if not absent:
        return None
    wanted = " ".join(absent)
    if not may_install:
        return f"not installed: {wanted}"
    if shutil.which("apt-get") is None:
        return f"needs {wanted}, and this machine has no apt-get"
    prefix = _as_root()
    if prefix is None:
        return f"needs root for: apt-get install {wanted}"
    return _attempt([*prefix, "apt-get", "install", "-y", "--no-install-recommends", *absent])


def node_modules(folder: Path, *, may_install: bool) -> str | None:
    """Installs what `folder/package.json` names; a line of explanation if it cannot."""
    if (folder / "node_modules").is_dir():
        return None
    if not may_install:
        return f"not installed: what {folder.name}/package.json names"
    npm = shutil.which("npm")
    if npm is None:
        return "needs npm: apt-get install nodejs npm"
    return _attempt([npm, "install", "--no-package-lock", "--prefix", str(folder)])


def _installed(package: str) -> bool:
    query = shutil.which("dpkg-query")
    if query is None:
        return False
    done = subprocess.run(
        [query, "-W", "-f", "${db:Status-Status}", package],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout == "installed"


def _as_root() -> list[str] | None:
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo is None:
        return None
    allowed = subprocess.run([sudo, "-n", "true"], capture_output=True, check=False)
    return [sudo, "-n"] if allowed.returncode == 0 else None


def _attempt(command: list[str]) -> str | None:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
    except subprocess.TimeoutExpired:
        return f"{' '.join(command)}: still not done after {_TIMEOUT} s"
    if done.returncode == 0:
        return None
    last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
    return f"{' '.join(command)}: {''.join(last)}"
