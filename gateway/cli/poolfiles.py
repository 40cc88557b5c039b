"""The pool files of php-fpm on this machine: which pool listens where, and how large it is.

Read as php-fpm reads them, as far as the doctor asks; what cannot be read is passed over.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

PLACES: Final = (
    "/etc/php/*/fpm/pool.d/*.conf",
    "/etc/php-fpm.d/*.conf",
    "/usr/local/etc/php-fpm.d/*.conf",
    "/etc/php*/php-fpm.d/*.conf",
)
_SECTION: Final = re.compile(r"\[([^\]]+)\]\s*")
_SETTING: Final = re.compile(r"([\w.\[\]]+)\s*=\s*(.*?)\s*(?:;.*)?")


@dataclass(slots=True)
class PoolFile:
    """One pool: its name, its file, its settings as they are written."""

    name: str
    file: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def max_children(self) -> int | None:
        """`pm.max_children`, None where it is not a number."""
        text = self.settings.get("pm.max_children", "")
        return int(text) if text.isascii() and text.isdigit() else None

    def listens_at(self, address: str) -> bool:
        """Whether the pool listens at an address as `upstreams.*.address` writes it."""
        listen = self.settings.get("listen", "").replace("$pool", self.name)
        if listen.startswith("/"):
            return address == f"unix:{listen}"
        host, colon, port = listen.rpartition(":")
        theirs, _, wanted = address.rpartition(":")
        # A port alone, or any address: reached by whatever name this machine has.
        anywhere = not colon or host in ("", "0.0.0.0", "[::]", "*")
        return port == wanted and (anywhere or host == theirs) and not address.startswith("unix:")


def pool_files(files: Iterable[Path]) -> list[PoolFile]:
    """The pools of these files."""
    return [pool for file in files for pool in _read(file)]


def local_files() -> list[Path]:
    """Where pools usually are described."""
    root = Path("/")
    return sorted({file for place in PLACES for file in root.glob(place.lstrip("/"))})


def _read(file: Path) -> Iterator[PoolFile]:
    try:
        text = file.read_text(errors="replace")
    except OSError:
        return
    pool: PoolFile | None = None
    for raw in text.splitlines():
        line = raw.strip()
        if found := _SECTION.fullmatch(line):
            if pool is not None and pool.name != "global":
                yield pool
            pool = PoolFile(found[1], file)
        elif pool is not None and (setting := _SETTING.fullmatch(line)):
            pool.settings[setting[1]] = setting[2].strip('"')
    if pool is not None and pool.name != "global":
        yield pool
