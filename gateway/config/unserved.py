"""The keys that the contract knows and nothing serves yet.

Each is a mistake of its own, so that nobody relies on what is not there. Building a feature ends
with taking its line out of this table.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from .problems import Path

Table = tuple[tuple[str, Callable[[object], bool], str], ...]

UNSERVED: Final[Table] = ()
"""Key (`*` for any name or index), when a value needs what is missing, and what that is."""


def find_unserved(data: Any, table: Table = UNSERVED) -> Iterator[tuple[Path, str]]:
    """The path and the message of every value that asks for what nothing serves."""
    for key, asks, feature in table:
        for path, value in _values(data, tuple(key.split(".")), ()):
            if asks(value):
                yield path, f"not built yet: {feature}"


def _values(data: Any, key: tuple[str, ...], path: Path) -> Iterator[tuple[Path, Any]]:
    if not key:
        yield path, data
        return
    head, rest = key[0], key[1:]
    if isinstance(data, dict):
        for name in list(data) if head == "*" else [head] if head in data else []:
            yield from _values(data[name], rest, (*path, name))
    elif isinstance(data, list) and head == "*":
        for index, item in enumerate(data):
            yield from _values(item, rest, (*path, index))
