"""The grammar of path templates, channel templates and channel patterns.

This module only reads what the file says; `gateway.routing` matches and renders. ValueError
says what is wrong with a template, in words for the person who wrote it.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

from .units import shown

Source = Literal["path", "query", "header", "user"]

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
_QUERY_NAME: Final = re.compile(r"[A-Za-z0-9_.\[\]-]{1,64}", re.ASCII)
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)
_BRACES: Final = re.compile(r"\{([^{}]*)\}")
_REST: Final = ":.*"
_MAX_CHANNEL: Final = 255


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a path template: literal text, one variable, or all that is left."""

    kind: Literal["literal", "variable", "rest"]
    text: str
    """The literal, or the variable's name."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A place in a channel template that a handshake fills; `name` is empty for the user."""

    source: Source
    name: str = ""


def parse_path(template: str) -> tuple[Segment, ...]:
    """The segments of a path template, without the slash in front of each."""
    if not template.startswith("/"):
        raise ValueError(f"expected a path that begins with /, got {shown(template)}")
    segments = tuple(_segment(part, template) for part in template[1:].split("/"))
    if any(segment.kind == "rest" for segment in segments[:-1]):
        raise ValueError(f"{{name:.*}} takes the rest, so it must stand last in {shown(template)}")
    # Case does not tell two apart: {room} and {Room} would both be WS_PATH_ROOM.
    names = [segment.text.lower() for segment in segments if segment.kind != "literal"]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"the variable {{{twice}}} stands twice in {shown(template)}")
    return segments


def _segment(part: str, template: str) -> Segment:
    if "{" not in part and "}" not in part:
        if not _is_literal(part):
            raise ValueError(
                "a path has no ?, #, %, spaces, control characters and no . or .. as a segment: "
                f"{shown(template)}"
            )
        return Segment("literal", part)
    if not (part.startswith("{") and part.endswith("}")):
        raise ValueError(f"a variable is a whole segment, as in /ws/{{room}}: {shown(part)} is not")
    name = part[1:-1]
    rest = name.endswith(_REST)
    name = name.removesuffix(_REST)
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"expected {{name}} or {{name:.*}} with letters, digits and _, got {shown(part)}"
        )
    return Segment("rest" if rest else "variable", name)


def _is_literal(part: str) -> bool:
    return part not in {".", ".."} and all(
        character > " " and character not in "?#%\\\x7f" for character in part
    )


def path_variables(template: str) -> frozenset[str]:
    """The names of the variables of a path template that is known to be good."""
    return frozenset(part.text for part in parse_path(template) if part.kind != "literal")


def default_name(template: str) -> str:
    """A route's name from its path: `/ws/{room}` is `ws-room`, `/` is `root`."""
    words = re.findall(r"[A-Za-z0-9_.]+", template.replace(_REST, ""))
    return "-".join(words) or "root"


def parse_channel(template: str) -> tuple[str | Variable, ...]:
    """The literals and variables of a channel template, in order."""
    if not template:
        raise ValueError("expected a channel, got nothing")
    parts: list[str | Variable] = []
    end = 0
    for match in _BRACES.finditer(template):
        parts.append(_channel_text(template[end : match.start()], template))
        parts.append(_variable(match[1], template))
        end = match.end()
    parts.append(_channel_text(template[end:], template))
    return tuple(part for part in parts if part != "")


def _channel_text(part: str, template: str) -> str:
    if "{" in part or "}" in part:
        raise ValueError(f"a brace is not closed or not opened in {shown(template)}")
    if "*" in part:
        raise ValueError(f"one channel is joined, so * has no meaning in {shown(template)}")
    _check_channel_text(part, template)
    return part


def _check_channel_text(part: str, whole: str) -> None:
    if any(character <= " " or character == "\x7f" for character in part):
        raise ValueError(f"a channel has no spaces and no control characters: {shown(whole)}")
    if len(whole.encode()) > _MAX_CHANNEL:
        raise ValueError(f"a channel has at most {_MAX_CHANNEL} bytes: {shown(whole)}")


def _variable(inner: str, template: str) -> Variable:
    source, dot, name = inner.partition(".")
    if not dot and inner == "user":
        return Variable("user")
    if not dot and _NAME.fullmatch(inner):
        return Variable("path", inner)
    if source == "query" and _QUERY_NAME.fullmatch(name):
        return Variable("query", name)
    if source == "header" and _HEADER_NAME.fullmatch(name):
        return Variable("header", name.lower())
    raise ValueError(
        f"expected {{name}}, {{query.x}}, {{header.x}} or {{user}}, got {shown('{' + inner + '}')} "
        f"in {shown(template)}"
    )


def check_pattern(pattern: str) -> str:
    """A channel pattern, where `*` stands for any characters."""
    if not pattern:
        raise ValueError("expected a channel or a pattern such as room.*, got nothing")
    if "{" in pattern or "}" in pattern:
        raise ValueError(f"a pattern has * and no variables: {shown(pattern)}")
    _check_channel_text(pattern, pattern)
    return pattern


def check_path(template: str) -> str:
    """A path template; ValueError says what is wrong with it."""
    parse_path(template)
    return template


def check_channel(template: str) -> str:
    """A channel template; ValueError says what is wrong with it."""
    parse_channel(template)
    return template


def check_select(select: str) -> str:
    """A dotted path into a JSON body."""
    if not all(select.split(".")):
        raise ValueError(f"expected a dotted path such as action or body.type, got {shown(select)}")
    return select
