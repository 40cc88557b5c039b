"""`:name` in a statement: where a value, such as a field of the frame, is bound as a parameter.

What PostgreSQL takes for a string, a quoted name, a comment or a cast is left as it is; nothing
of a frame ever becomes part of the text. The lexical rules are those of PostgreSQL's manual,
"SQL Syntax", section "Lexical Structure", with standard_conforming_strings on, as it is by default.
"""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_NESTED: Final = re.compile(r"/\*|\*/")
_TOKEN: Final = re.compile(
    r"""
      (?P<escaped> (?<![\w$]) [eE] ' (?: [^'\\] | \\. | '' )* (?P<escaped_end>')? )
    | (?P<string> ' (?: [^'] | '' )* (?P<string_end>')? )
    | (?P<name> " (?: [^"] | "" )* (?P<name_end>")? )
    | (?P<comment> --[^\r\n]* )
    | (?P<nested> /\* )
    | (?P<dollar> (?<![\w$]) \$ (?: [^\W\d]\w* )? \$ )
    | (?P<position> (?<![\w$]) \$\d+ )
    | (?P<cast> ::|:= )
    | : (?P<field> [A-Za-z_][A-Za-z0-9_]* )
    | (?P<end> ; )
    | (?P<word> [\w$]+ )
    | (?P<space> \s+ )
    """,
    re.VERBOSE | re.DOTALL,
)
_QUOTED: Final = ("escaped", "string", "name")
_BLANK: Final = ("space", "comment", "nested")


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement with `$1`, `$2` … in place of its fields, each field once and in this order."""

    text: str
    fields: tuple[str, ...]


PARAMETERS: Final = ("channel", "connection", "user", "route", "wildcard")
"""What a statement that runs on a subscribe or an unsubscribe may name."""


def parse_statement(sql: str, *, type_: str = "") -> Statement:
    """The one statement of a text; ValueError says what it must not have.

    `type_` is the type of every parameter; without one PostgreSQL infers it from the statement.
    """
    cast = f"::{type_}" if type_ else ""
    if "\0" in sql:
        raise ValueError("a query has no NUL")
    pieces: list[str] = []
    fields: dict[str, int] = {}
    begun = ended = False
    for kind, token in _tokens(sql):
        if kind == "end":
            ended = True
        elif kind not in _BLANK:
            if ended:
                raise ValueError("expected one statement, but something follows its semicolon")
            begun = True
        if kind == "field":
            pieces.append(f"${fields.setdefault(token[1:], len(fields) + 1)}{cast}")
        else:
            pieces.append(token)
    if not begun:
        raise ValueError("expected a statement")
    return Statement("".join(pieces), tuple(fields))


def _tokens(sql: str) -> Iterator[tuple[str, str]]:
    """The text in pieces, each with its kind; together they are the text."""
    position = 0
    while position < len(sql):
        match = _TOKEN.match(sql, position)
        kind = (match.lastgroup or "") if match else "other"
        end = match.end() if match else position + 1
        if match and kind in _QUOTED and not match[f"{kind}_end"]:
            raise ValueError(f"the quote at {sql[position : position + 20]!r} is not closed")
        if kind == "nested":
            end = _end_of_comment(sql, position)
        elif kind == "dollar":
            closing = sql.find(sql[position:end], end)
            if closing < 0:
                raise ValueError(f"the $ quote at {sql[position : position + 20]!r} is not closed")
            end += closing - position
        elif kind == "position":
            raise ValueError(f"{sql[position:end]} is the gateway's: write :name for a value")
        yield kind, sql[position:end]
        position = end


def parse_event_statement(sql: str) -> Statement:
    """The statement of a subscribe or an unsubscribe, whose parameters are text, each of them.

    ValueError also says which name is none of `PARAMETERS`.
    """
    statement = parse_statement(sql, type_="text")
    for name in statement.fields:
        if name not in PARAMETERS:
            near = difflib.get_close_matches(name, PARAMETERS, n=1)
            hint = f"did you mean :{near[0]}? " if near else ""
            known = ", ".join(f":{one}" for one in PARAMETERS)
            raise ValueError(f"unknown parameter :{name}; {hint}known: {known}")
    return statement


def check_statement(sql: str) -> str:
    """The text itself; ValueError when it is no statement."""
    parse_statement(sql)
    return sql


def check_event_statement(sql: str) -> str:
    """The text itself; ValueError when it is no statement of a subscribe or an unsubscribe."""
    parse_event_statement(sql)
    return sql


def _end_of_comment(sql: str, start: int) -> int:
    depth = 0
    for mark in _NESTED.finditer(sql, start):
        depth += 1 if mark[0] == "/*" else -1
        if not depth:
            return mark.end()
    raise ValueError("a comment is not closed")
