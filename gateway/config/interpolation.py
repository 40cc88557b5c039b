"""`${NAME}`, `${NAME:-default}` and `${file:/path}` inside a scalar.

What is put in is text and stays text: it never becomes YAML structure. `$${` is a literal `${`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_PLACEHOLDER: Final = re.compile(r"\$?\$\{(?P<inner>[^{}]*)(?P<end>\}?)")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_MAX_FILE: Final = 65536
FILE: Final = "${file:"


def interpolate(text: str, environ: Mapping[str, str], folder: Path) -> str:
    """The text with its placeholders replaced; ValueError says which cannot be and why.

    A file that is not absolute starts at `folder`; line ends at a file's end are not part of it.
    """
    if "${" not in text:
        return text

    def replace(match: re.Match[str]) -> str:
        if match[0].startswith("$$"):
            return match[0][1:]
        if not match["end"]:
            raise ValueError("a ${ is not closed by }; write $${ for a literal ${")
        return _value(match["inner"], environ, folder)

    return _PLACEHOLDER.sub(replace, text)


def _value(inner: str, environ: Mapping[str, str], folder: Path) -> str:
    if inner.startswith("file:"):
        return _content(inner.removeprefix("file:"), folder)
    name, separator, default = inner.partition(":-")
    if not _NAME.fullmatch(name):
        raise ValueError("expected ${NAME}, ${NAME:-default} or ${file:/path}")
    value = environ.get(name, "")
    if separator:
        return value or default
    if name not in environ:
        raise ValueError(f"the environment has no {name}; set it, or write ${{{name}:-default}}")
    return value


def _content(name: str, folder: Path) -> str:
    if not name or "\0" in name:
        raise ValueError("expected the path of a file in ${file:/path}")
    path = folder / name
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE + 1)
    except OSError as exc:
        raise ValueError(f"cannot read {path}: {exc.strerror}") from exc
    if len(content) > _MAX_FILE:
        raise ValueError(f"{path} is larger than {_MAX_FILE} bytes")
    try:
        return content.decode().rstrip("\r\n")
    except UnicodeDecodeError as exc:
        raise ValueError(f"{path} is not UTF-8") from exc
