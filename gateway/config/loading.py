"""From a file to a `Config`, or to all its mistakes at once.

The mistakes come in the order of the file, one a line: `FILE:LINE: key: what is wrong`.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path as FilePath
from typing import Any, Final

from pydantic import ValidationError

from gateway.errors import ConfigurationError

from .checks import check
from .document import Document, read
from .model import Config
from .problems import Path, Places, Problem, from_pydantic, path_of_error

_MAX_FILE: Final = 1024 * 1024


def load(path: str | FilePath, environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration in the file, every default filled in.

    Raises ConfigurationError with all the mistakes, ready to print.
    """
    name = str(path)
    text = _read(FilePath(path), name)
    folder = FilePath(path).absolute().parent
    return parse(text, name=name, folder=folder, environ=environ)


def parse(
    text: str, *, name: str, folder: FilePath, environ: Mapping[str, str] = os.environ
) -> Config:
    """The configuration in the text, which is called `name` and has its files at `folder`."""
    return build(read(text, environ, folder), name=name, folder=folder)


def build(document: Document, *, name: str, folder: FilePath) -> Config:
    """The configuration in a document, also one that was put together in Python.

    Such a document has no lines, so its mistakes are named by key alone.
    """
    problems = list(document.problems)
    config: Config | None = None
    if document.data is None:
        problems = problems or [Problem(0, "", "the file is empty")]
    elif not isinstance(document.data, dict):
        problems.append(Problem(1, "", "expected keys such as upstreams: and routes:"))
    else:
        # A heading with nothing below it, all its lines commented out, is as good as none.
        data = {key: value for key, value in document.data.items() if value is not None}
        config, found = _validate(data, document, folder)
        problems += found
    if config is None or problems:
        ordered = sorted(dict.fromkeys(problems), key=lambda problem: problem.line)
        raise ConfigurationError(*(problem.render(name) for problem in ordered))
    return config


def _validate(
    data: dict[str, Any], document: Document, folder: FilePath
) -> tuple[Config | None, list[Problem]]:
    places = Places(data, document.lines, document.from_files)
    problems: list[Problem] = []
    config = None
    try:
        config = Config.model_validate(data, context={"folder": folder})
    except ValidationError as exc:
        errors = exc.errors(include_url=False)
        new = [one for one in errors if path_of_error(one, places) not in document.broken]
        problems += from_pydantic(new, places)
    return config, problems + _at(check(data, folder), places, document.broken)


def _at(found: Iterable[tuple[Path, str]], places: Places, broken: set[Path]) -> list[Problem]:
    return [places.problem(path, message) for path, message in found if path not in broken]


def _read(path: FilePath, name: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE + 1)
    except FileNotFoundError as exc:
        raise ConfigurationError(f"{name}: no such file") from exc
    except IsADirectoryError as exc:
        raise ConfigurationError(f"{name}: is a directory, expected a YAML file") from exc
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        raise ConfigurationError(f"{name}: cannot be read: {reason}") from exc
    if len(content) > _MAX_FILE:
        raise ConfigurationError(f"{name}: larger than {_MAX_FILE} bytes, not a configuration")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise ConfigurationError(f"{name}:{line}: not UTF-8") from exc
