"""Channel patterns: `room.*`, where `*` stands for any characters, none included.

Only configuration and the API have patterns; a name that a client sends is compared as it is.
Matching takes time linear in the name, whatever the pattern.
"""

from collections.abc import Iterable


class Pattern:
    """A channel's name with `*` in any place."""

    __slots__ = ("_middle", "_minimum", "_prefix", "_suffix", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._prefix, *rest = text.split("*")
        self._suffix = rest.pop() if rest else None
        self._middle = tuple(piece for piece in rest if piece)
        self._minimum = len(text) - text.count("*")

    def matches(self, name: str) -> bool:
        """Whether the name is one the pattern is about."""
        if self._suffix is None:
            return name == self._prefix
        if (
            len(name) < self._minimum
            or not name.startswith(self._prefix)
            or not name.endswith(self._suffix)
        ):
            return False
        # The leftmost place of each piece leaves the most room for those that follow.
        position, end = len(self._prefix), len(name) - len(self._suffix)
        for piece in self._middle:
            found = name.find(piece, position, end)
            if found < 0:
                return False
            position = found + len(piece)
        return True

    def wildcard(self, name: str) -> str | None:
        """What the first `*` stands for in a name that matches; None without a `*`.

        Where it could end in several places it ends in the first of them.
        """
        if self._suffix is None:
            return None
        start = len(self._prefix)
        end = name.find(self._middle[0], start) if self._middle else len(name) - len(self._suffix)
        return name[start:end]


class PatternSet:
    """Several patterns of which one must match; without any, no name does."""

    __slots__ = ("patterns",)

    def __init__(self, texts: Iterable[str]) -> None:
        self.patterns = tuple(Pattern(text) for text in texts)

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def matches(self, name: str) -> bool:
        """Whether one of the patterns matches the name."""
        return any(pattern.matches(name) for pattern in self.patterns)
