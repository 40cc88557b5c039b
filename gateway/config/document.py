"""A YAML file as plain data, with the line of every key.

Scalars stay the text that was written: `off`, `0123` and `1.10` reach the models as they stand,
and each model decides what its text means. Only an empty plain scalar, `null` and `~` are None.
Keys given twice are mistakes. Tags other than YAML's own are refused; nothing is constructed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Final

import yaml

from .interpolation import FILE, interpolate
from .problems import Path, Problem, place

_MAX_NODES: Final = 100_000
_MAX_DEPTH: Final = 40
_NULL: Final = "tag:yaml.org,2002:null"
_MERGE: Final = "tag:yaml.org,2002:merge"
_STANDARD: Final = frozenset(
    f"tag:yaml.org,2002:{name}"
    for name in ("str", "null", "bool", "int", "float", "timestamp", "value", "merge", "seq", "map")
)


@dataclass(slots=True)
class Document:
    """The data of a file, the lines of its keys, and the mistakes found while reading it.

    `from_files` are the paths of values that came out of `${file:...}`; `broken` those whose
    mistake is among the problems already, so that nothing more need be said of them.
    """

    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    from_files: set[Path] = field(default_factory=set)
    broken: set[Path] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)


def read(text: str, environ: Mapping[str, str], folder: FilePath) -> Document:
    """The document in `text`; never raises, mistakes are in `problems`."""
    document = Document()
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as exc:
        document.problems.append(_syntax_problem(exc))
        return document
    except yaml.reader.ReaderError as exc:
        line = text.count("\n", 0, exc.position) + 1
        message = f"not YAML: the character U+{ord(text[exc.position]):04X} is not allowed"
        document.problems.append(Problem(line, "", message))
        return document
    except RecursionError:
        document.problems.append(Problem(0, "", "not YAML for people: nested too deep"))
        return document
    if root is not None:
        _Converter(document, environ, folder).convert(root)
    return document


def _syntax_problem(exc: yaml.MarkedYAMLError) -> Problem:
    mark = exc.problem_mark or exc.context_mark
    context = f"{exc.context}, " if exc.context else ""
    message = " ".join(f"not YAML: {context}{exc.problem}".split())
    if "\\t" in message:
        message += "; indent with spaces"
    return Problem(mark.line + 1 if mark else 0, "", message)


class _TooLargeError(Exception):
    """Aliases have unfolded into more than any configuration needs."""


class _Converter:
    def __init__(self, document: Document, environ: Mapping[str, str], folder: FilePath) -> None:
        self._document = document
        self._environ = environ
        self._folder = folder
        self._nodes = 0

    def convert(self, root: yaml.Node) -> None:
        try:
            self._document.data = self._value(root, ())
        except _TooLargeError:
            self._document.data = None
            self._document.problems.append(Problem(0, "", "nested too deep, or too many aliases"))

    def _value(self, node: yaml.Node, path: Path) -> Any:
        self._nodes += 1
        if self._nodes > _MAX_NODES or len(path) > _MAX_DEPTH:
            raise _TooLargeError
        self._document.lines.setdefault(path, node.start_mark.line + 1)
        if node.tag not in _STANDARD:
            self._add(node, path, f"the tag {node.tag} has no meaning here")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> str | None:
        if node.tag == _NULL and node.style is None:
            return None
        text: str = node.value
        if FILE in text:
            self._document.from_files.add(path)
        try:
            return interpolate(text, self._environ, self._folder)
        except ValueError as exc:
            self._add(node, path, str(exc))
            return None

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merges: list[yaml.Node] = []
        for key, value in node.value:
            if key.tag == _MERGE:
                merges.append(value)
                continue
            if not isinstance(key, yaml.ScalarNode):
                self._add(key, path, "a key must be text")
                continue
            name: str = key.value
            inner = (*path, name)
            if name in result:
                first = self._document.lines[inner]
                self._add(key, inner, f"given twice; the first is on line {first}")
                continue
            self._document.lines.setdefault(inner, key.start_mark.line + 1)
            result[name] = self._value(value, inner)
        for merge in merges:
            self._merge(merge, path, result)
        return result

    def _merge(self, node: yaml.Node, path: Path, result: dict[str, Any]) -> None:
        """`<<: *other`: what stands in the mapping itself counts first, then one by one."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for one in nodes:
            if not isinstance(one, yaml.MappingNode):
                self._add(node, path, "<< needs a mapping, or a list of them")
                return
            for name, value in self._mapping(one, path).items():
                result.setdefault(name, value)

    def _add(self, node: yaml.Node, path: Path, message: str) -> None:
        self._document.broken.add(path)
        self._document.problems.append(Problem(node.start_mark.line + 1, place(path), message))
