"""What the measures ask of whatever is measured."""

import resource
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from benchmarks.php import DOCUMENT_ROOT, PhpFpm
from benchmarks.processes import Server, free_port

PEERS: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Site:
    """Where a peer runs: the php-fpm it talks to, and how many worker processes it has."""

    php: PhpFpm
    workers: int = 1

    @property
    def folder(self) -> Path:
        """For the peer's configuration and logs; php-fpm has its own there too."""
        return self.php.socket.parent

    @property
    def kept(self) -> int:
        """FastCGI connections a peer may keep: all but one child, so nobody else is starved."""
        return max(1, self.php.children - 1)

    @property
    def values(self) -> dict[str, str]:
        """What every configuration template may name."""
        return {
            "folder": str(self.folder),
            "socket": str(self.php.socket),
            "root": str(DOCUMENT_ROOT),
            "kept": str(self.kept),
            "workers": str(self.workers),
            "nofile": str(resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        }


@dataclass(slots=True)
class Running:
    """A peer that answers; `url` ends before the path, `publish` is where fan-out is fed."""

    server: Server
    url: str
    publish: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def pids(self) -> list[int]:
        return self.server.pids

    def stop(self) -> None:
        self.server.stop()


class Peer(ABC):
    """One thing to measure. `title` is the name that readers see."""

    name: ClassVar[str]
    title: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()  # Debian packages it consists of

    def missing(self, *, may_install: bool) -> str | None:
        """Why it cannot run here, in one line; None when it can.

        With `may_install` it gets what is missing from the distribution or from npm first.
        """
        del may_install
        return None

    @abstractmethod
    def version(self) -> str:
        """What was measured, for the record."""

    @abstractmethod
    def start(self, site: Site) -> Running:
        """Started and accepting connections when this returns."""


def render(template: Path, target: Path, values: Mapping[str, str]) -> Path:
    """Writes `template` to `target` with every `{{name}}` replaced."""
    text = template.read_text()
    for name, value in values.items():
        text = text.replace("{{" + name + "}}", value)
    target.write_text(text)
    return target


def first_line(*command: str) -> str:
    """The first line that a command prints, on either output: how programs tell their version."""
    path = shutil.which(command[0])
    if path is None:
        return ""
    done = subprocess.run([path, *command[1:]], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip().partition("\n")[0]


def choose_port(site: Site) -> tuple[int, dict[str, str]]:
    """A free port, and the template values with it."""
    port = free_port()
    return port, {**site.values, "port": str(port)}
