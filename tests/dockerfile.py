"""Reads the Dockerfile and does what it says without Docker, below a folder of a test's own.

Every absolute path that an instruction names, but those of the system's programs, is taken to be
below that folder. A finished stage moves away, so that what the last one copies has to stand where
it was made for.
"""

import json
import os
import re
import shlex
import shutil
import string
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
# Where the base image has its programs; `wsgate` must come from what the Dockerfile adds.
BASE_PATH: Final = "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"
# These describe the image and do nothing while it is built.
_DESCRIBE: Final = {"FROM", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
_OURS: Final = re.compile(r"(?<![\w./-])/(?!(?:usr|bin|sbin|dev|proc)\b)(?=\w)")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, continued lines joined: its name, its `--options`, the rest as written."""

    name: str
    options: Mapping[str, str]
    rest: str

    @property
    def argv(self) -> list[str]:
        """What is executed: the list of the exec form, or a shell with the line."""
        if self.rest.startswith("["):
            return [str(word) for word in json.loads(self.rest)]
        return ["sh", "-c", self.rest]

    @property
    def programs(self) -> list[str]:
        """What a line of the shell form starts, one after the other."""
        return re.findall(r"(?:^|[&|;])\s*(?:\w+=\S+\s+)*([\w./-]+)", self.rest)


def instruction(line: str) -> Instruction:
    """Read one instruction from a line."""
    name, _, rest = line.strip().partition(" ")
    options = {}
    while found := re.match(r"\s*--([\w-]+)=(\S+)", rest):
        options[found[1]] = found[2]
        rest = rest[found.end() :]
    return Instruction(name, options, rest.strip())


def stages(text: str) -> list[list[Instruction]]:
    """Each stage begins with its FROM."""
    code = "".join(f"{line}\n" for line in text.splitlines() if not re.match(r"\s*(#|$)", line))
    found: list[list[Instruction]] = []
    for line in code.replace("\\\n", "").splitlines():
        one = instruction(line)
        if one.name == "FROM":
            found.append([])
        found[-1].append(one)
    return found


def only(stage: list[Instruction], name: str) -> Instruction:
    """The instruction that a stage has once."""
    (found,) = (one for one in stage if one.name == name)
    return found


def ignored(path: str, patterns: list[str]) -> bool:
    """Whether .dockerignore keeps a path from Docker; the last line that fits it says."""
    verdict = False
    for pattern in patterns:
        if re.fullmatch(_expression(pattern.removeprefix("!")), path):
            verdict = not pattern.startswith("!")
    return verdict


def _expression(pattern: str) -> str:
    wild = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    # A folder that is left out takes along what is in it.
    return "".join(wild.get(part, re.escape(part)) for part in parts) + "(?:/.*)?"


class Build:
    """The stages done so far; `environment` and `workdir` are those of the last one."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.environment: dict[str, str] = {}
        self.workdir = self.root
        self._finished = folder
        lines = (ROOT / ".dockerignore").read_text().splitlines()
        self._patterns = [line for line in lines if line and not line.startswith("#")]

    def here(self, text: str) -> str:
        """The text with the image's paths as paths below the folder."""
        return _OURS.sub(f"{self.root}/", text)

    def stage(
        self, instructions: list[Instruction], *, path: str = BASE_PATH, run: bool = True
    ) -> None:
        """Do what a stage says; without `run` what it would execute is left out.

        `path` is where the base image has its programs.
        """
        self.root.mkdir()
        self.workdir = self.root
        self.environment = {"PATH": path}
        for one in instructions:
            match one.name:
                case "RUN":
                    if run:
                        self._run(one)
                case "WORKDIR":
                    self.workdir = Path(self.here(one.rest))
                    self.workdir.mkdir(parents=True)
                case "COPY":
                    self._copy(one)
                case "ENV":
                    for word in shlex.split(one.rest):
                        name, _, value = word.partition("=")
                        value = string.Template(self.here(value)).substitute(self.environment)
                        self.environment[name] = value
                case _:
                    assert one.name in _DESCRIBE, f"no test knows what {one.name} does"

    def finish(self, instructions: list[Instruction]) -> None:
        """Move a stage away, known by the name that its FROM gives it."""
        self.root.rename(self._finished / instructions[0].rest.split(" AS ")[1])

    def _run(self, one: Instruction) -> None:
        """With the machine's own settings, those of pip above all; raises what subprocess does.

        Only Python and what it has installed: anything else might change the machine.
        """
        for program in one.programs:
            assert program == "python" or program != self.here(program), f"{program} is not run"
        subprocess.run(
            [self.here(word) for word in one.argv],
            check=True,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            cwd=self.workdir,
            env={**os.environ, **self.environment},
        )

    def _copy(self, one: Instruction) -> None:
        *sources, last = one.rest.split()
        destination = self.workdir / self.here(last)
        stage = one.options.get("from")
        origin, ignore = (self._finished / stage, None) if stage else (ROOT, self._left_out)
        for source in sources:
            assert stage or not ignored(source, self._patterns), f".dockerignore has {source}"
            found = origin / source.lstrip("/")
            if found.is_dir():
                shutil.copytree(
                    found, destination, symlinks=True, dirs_exist_ok=True, ignore=ignore
                )
            else:
                shutil.copy(found, destination / found.name if last.endswith("/") else destination)

    def _left_out(self, folder: str, names: list[str]) -> set[str]:
        place = Path(folder).relative_to(ROOT)
        return {name for name in names if ignored(str(place / name), self._patterns)}
