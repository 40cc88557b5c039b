"""Which rule a message belongs to, by one field of its JSON body.

Only that field is decoded; the rest of the body is skipped. Whatever a client sends gives a
result: what is not JSON, is nested too deep, or has no such field belongs to the rule `"*"`.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from gateway.config.routes import Messages, Rule

REST: Final = "*"
_QUOTE: Final = ord('"')


@dataclass(frozen=True, slots=True)
class Choice:
    """A rule with its name, as WS_RULE has it."""

    name: str
    rule: Rule


class MessageRules:
    """The rules of one route; `choose` is called for every message and never raises."""

    __slots__ = ("_by_token", "_by_word", "_decoder", "_depth", "_longest", "_rest")

    def __init__(self, messages: Messages) -> None:
        choices = {name: Choice(sys.intern(name), rule) for name, rule in messages.rules.items()}
        self._rest = choices.pop(REST, None)
        self._by_word: Mapping[str, Choice] = choices
        # By the bytes as most clients write the value, so that nothing need be decoded.
        self._by_token = {msgspec.json.encode(name): choice for name, choice in choices.items()}
        self._longest = max((len(token) for token in self._by_token), default=0)
        fields = messages.select.split(".")
        self._depth = len(fields)
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_shape(fields))

    def choose(self, payload: bytes, *, text: bool) -> Choice | None:
        """The rule of a message; None when no rule is for it and there is no `"*"`."""
        if not text:
            return self._rest
        try:
            value: Any = self._decoder.decode(payload)
            for _ in range(self._depth):
                value = value.value
            return self._of(bytes(value)) or self._rest
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            return self._rest

    def _of(self, token: bytes) -> Choice | None:
        choice = self._by_token.get(token)
        if choice is not None or not token:
            return choice
        if token[0] == _QUOTE:
            # An escape makes a character at most six times as long.
            if len(token) > 6 * self._longest:
                return None
            return self._by_word.get(msgspec.json.decode(token, type=str))
        # A number, true or false is meant as it is written; so a rule may be called 1 or true.
        return self._by_word.get(token.decode()) if len(token) <= self._longest else None


def _shape(fields: list[str]) -> type:
    """A struct of one field, or a chain of them, whose innermost value stays undecoded."""
    shape: Any = msgspec.Raw
    default: Any = msgspec.Raw(b"")
    for name in reversed(fields):
        shape = msgspec.defstruct(
            "Body",
            [("value", shape, default)],
            rename={"value": name},
            frozen=True,
            gc=False,
        )
        default = shape()
    result: type = shape
    return result
