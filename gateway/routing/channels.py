"""Names of channels made from a handshake: `room.{room}`, `{query.id}`, `{header.x}`, `{user}`.

Whether the result is a good name is for `gateway.channels` to judge; a `*` that a client put
into a variable is a literal here and everywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.config.templates import Variable, parse_channel


@dataclass(frozen=True, slots=True)
class Variables:
    """What a handshake offers to templates; header names are in lower case."""

    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    user: str = ""

    def value(self, variable: Variable) -> str:
        """The variable's value, empty when it is absent."""
        match variable.source:
            case "path":
                return self.path.get(variable.name, "")
            case "query":
                return self.query.get(variable.name, "")
            case "header":
                return self.headers.get(variable.name, "")
            case "user":
                return self.user


class ChannelTemplate:
    """The name of a channel with variables in it."""

    __slots__ = ("_parts", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._parts = parse_channel(text)

    @property
    def names_user(self) -> bool:
        """Whether it depends on who the user is."""
        return any(isinstance(part, Variable) and part.source == "user" for part in self._parts)

    def render(self, variables: Variables) -> str | None:
        """The channel's name, None when one of its variables is absent or empty."""
        words: list[str] = []
        for part in self._parts:
            word = part if isinstance(part, str) else variables.value(part)
            if not word:
                return None
            words.append(word)
        return "".join(words)
