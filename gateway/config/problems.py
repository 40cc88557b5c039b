"""Mistakes of the file, each with its place, in the words of the file.

pydantic's errors become lines such as
`wsgate.yaml:12: upstreams.app.max_connections: expected a number, got "many"`.
A value that may be a secret is never part of a line.
"""

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import ErrorDetails

from .sections import hint_for, section_at
from .units import shown

Path = tuple[str | int, ...]

_PLAIN_KEY: Final = re.compile(r"[\w*+-]+")
_MESSAGES: Final = {
    "missing": "is required",
    "too_short": "expected at least one, got an empty list",
    "string_too_short": "expected text, got nothing",
}
_MAPPING_EXPECTED: Final = frozenset({"model_type", "model_attributes_type", "dict_type"})
_LIST_EXPECTED: Final = frozenset({"tuple_type", "list_type"})
_TYPE_EXPECTED: Final = frozenset({"union_tag_invalid", "union_tag_not_found", "literal_error"})


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: the line it is on (0: the file as a whole), its key, and what to do."""

    line: int
    place: str
    message: str

    def render(self, file: str) -> str:
        """The line people read; `file` as they named it."""
        where = f"{file}:{self.line}" if self.line else file
        return (
            f"{where}: {self.place}: {self.message}" if self.place else f"{where}: {self.message}"
        )


class Places:
    """Where the keys and values of a file stand."""

    def __init__(self, data: Any, lines: Mapping[Path, int], from_files: AbstractSet[Path]) -> None:
        self._data = data
        self._lines = lines
        self._from_files = from_files

    def path_of(self, loc: Sequence[str | int], *, missing: bool = False) -> Path:
        """The path in the file of a pydantic location; of a missing key, where it would be.

        pydantic also counts what the file does not show: the type of a source, the client
        section of keys that stand directly in a route, the only item of a list.
        """
        path: Path = ()
        here = around = self._data
        for part in loc[:-1] if missing else loc:
            if _has(here, part):
                path = (*path, part)
                here, around = here[part], here
            elif path and path[-1] == "client" and _has(around, part):
                path = (*path[:-1], part)
                here = around[part]
        return (*path, loc[-1]) if missing else path

    def problem(self, path: Path, message: str) -> Problem:
        """A mistake at that path, or where it would stand if it is not in the file."""
        at = path
        while at and at not in self._lines:
            at = at[:-1]
        if path in self._from_files:
            message = message.partition(", got ")[0]
        return Problem(self._lines.get(at, 0), place(path), message)


def _has(data: Any, part: str | int) -> bool:
    if isinstance(data, dict):
        return part in data
    return isinstance(data, list) and isinstance(part, int) and part < len(data)


def place(path: Path) -> str:
    """`routes[0].messages.rules."a.b".script`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = part if _PLAIN_KEY.fullmatch(part) else shown(part)
            text += f".{key}" if text else key
    return text


def from_pydantic(errors: Sequence[ErrorDetails], places: Places) -> list[Problem]:
    """The problems pydantic found, in the words and with the places of the file.

    Left out is what only follows from another mistake: a default that could not be derived, a
    list that lost its bad items.
    """
    return [
        places.problem(path_of_error(error, places), _message(error))
        for error in errors
        if not _follows(error)
    ]


def path_of_error(error: ErrorDetails, places: Places) -> Path:
    """The path in the file of what pydantic complains of."""
    return places.path_of(error["loc"], missing=error["type"] == "missing")


def _follows(error: ErrorDetails) -> bool:
    kind = error["type"]
    return kind == "default_factory_not_called" or (kind == "too_short" and bool(error["input"]))


def _message(error: ErrorDetails) -> str:
    kind, value = error["type"], error.get("input")
    context: dict[str, Any] = error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "extra_forbidden":
        return _unknown_key(error["loc"])
    if kind in _MAPPING_EXPECTED:
        return f"expected a mapping, got {_kind_of(value)}"
    if kind in _LIST_EXPECTED:
        return f"expected a list, got {_kind_of(value)}"
    if kind in _TYPE_EXPECTED:
        expected = context.get("expected_tags") or context.get("expected", "")
        words = " or ".join(part.strip(" '") for part in expected.split(","))
        return f"expected type: {words or 'redis or postgres'}"
    return _MESSAGES.get(kind, error["msg"])


def _kind_of(value: object) -> str:
    """What the value is, without its text: a scalar in a wrong place may be a secret."""
    return shown(value) if value is None or isinstance(value, dict | list | tuple) else "text"


def _unknown_key(loc: Sequence[str | int]) -> str:
    section = section_at(loc[:-1])
    hint = hint_for(str(loc[-1]), section) if section else ""
    return f"unknown key{hint}"
