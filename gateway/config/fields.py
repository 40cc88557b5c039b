"""The types of the keys: `units` for pydantic, with what an editor and the reference say of them.

Every scalar is read by a plain function of `units`, never by pydantic's own coercion, so that a
mistake reads the same everywhere and text of the file needs no YAML types.
"""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core.core_schema import ValidationInfo

from . import units
from .units import Listen, Rate


class Section(BaseModel):
    """A mapping of the file: its keys are its attributes, nothing else is allowed in it."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=False)


@dataclass(frozen=True, slots=True)
class Scalar:
    """What the reference says of a value, and how it writes a default."""

    name: str
    write: Callable[[Any], str] = units.written


# In the file every scalar may also be text with ${NAME} in it.
_INTERPOLATED: Final = {"type": "string", "pattern": r"\$\{"}
_OFF: Final = {"enum": ["off", False]}


def _schema(*options: dict[str, Any], examples: list[Any] | None = None) -> WithJsonSchema:
    schema: dict[str, Any] = {"anyOf": [*options, _INTERPOLATED]}
    if examples:
        schema["examples"] = examples
    return WithJsonSchema(schema)


def _word(pattern: str) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^{pattern}$"}


_DURATION: Final = _word(r"([0-9]+(\.[0-9]+)?(ms|s|m|h|d)|0)")
_SIZE: Final = _word(r"[0-9]+(\.[0-9]+)? ?([kKmMgG]i?)?[bB]?")
_RATE: Final = _word(r"[0-9]+/[smh]")
_LISTEN: Final = _word(r"(unix:/.+|.+:[0-9]+)")


def _off_or(write: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: "off" if value is None else write(value)


Duration = Annotated[
    float,
    PlainValidator(units.duration),
    _schema(_DURATION, {"const": 0}, examples=["30s", "250ms", "5m"]),
    Scalar("duration", units.written_duration),
]
PositiveDuration = Annotated[
    float,
    PlainValidator(units.positive_duration),
    _schema(_DURATION, examples=["30s", "250ms", "5m"]),
    Scalar("duration", units.written_duration),
]
DurationOrOff = Annotated[
    float | None,
    PlainValidator(units.or_off(units.positive_duration)),
    _schema(_DURATION, _OFF, examples=["off", "5m"]),
    Scalar("duration or off", _off_or(units.written_duration)),
]
Size = Annotated[
    int,
    PlainValidator(units.positive_size),
    _schema(_SIZE, {"type": "integer", "minimum": 1}, examples=["64KiB", "1MiB"]),
    Scalar("size", units.written_size),
]
SizeOrZero = Annotated[
    int,
    PlainValidator(units.size),
    _schema(_SIZE, {"type": "integer", "minimum": 0}, examples=["8KiB", "0"]),
    Scalar("size", units.written_size),
]
RateValue = Annotated[
    Rate,
    PlainValidator(units.rate),
    _schema(_RATE, examples=["50/s", "100/m"]),
    Scalar("rate", str),
]
RateOrOff = Annotated[
    Rate | None,
    PlainValidator(units.or_off(units.rate)),
    _schema(_RATE, _OFF, examples=["off", "50/s"]),
    Scalar("rate or off", _off_or(str)),
]
Count = Annotated[
    int,
    PlainValidator(units.number(1)),
    _schema({"type": "integer", "minimum": 1}),
    Scalar("number", str),
]
CountOrZero = Annotated[
    int,
    PlainValidator(units.number(0)),
    _schema({"type": "integer", "minimum": 0}),
    Scalar("number", str),
]
CountOrOff = Annotated[
    int | None,
    PlainValidator(units.or_off(units.number(1))),
    _schema({"type": "integer", "minimum": 1}, _OFF),
    Scalar("number or off", _off_or(str)),
]
Switch = Annotated[
    bool,
    PlainValidator(units.switch),
    _schema({"type": "boolean"}, {"enum": ["on", "off", "yes", "no"]}),
    Scalar("on or off", units.written),
]
Text = Annotated[
    str,
    PlainValidator(units.text),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
    Scalar("text", str),
]
Lines = Annotated[
    str,
    PlainValidator(units.lines),
    WithJsonSchema({"type": "string"}),
    Scalar("text", str),
]
Secret = Annotated[
    str,
    PlainValidator(units.text),
    WithJsonSchema({"type": ["string", "number"]}),
    Scalar("secret text", str),
    Field(repr=False),
]
Address = Annotated[
    Listen,
    PlainValidator(units.listen),
    _schema(_LISTEN, examples=["127.0.0.1:8080", "[::]:8080", "unix:/run/wsgate/public.sock"]),
    Scalar("address", str),
]


def word(*words: str) -> tuple[PlainValidator, WithJsonSchema, Scalar]:
    """The metadata of a key that takes one word out of several; to be unpacked in Annotated."""
    return (
        PlainValidator(units.choice(*words)),
        _schema({"enum": list(words)}),
        Scalar(" \\| ".join(words), str),
    )


def _as_list(value: object) -> object:
    return value if value is None or isinstance(value, list | tuple | dict) else [value]


OneOrMany: Final = BeforeValidator(_as_list)
"""In front of a tuple: a single value is a list of one."""


def _network(value: object) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    try:
        return ipaddress.ip_network(str(value).strip(), strict=True)
    except ValueError as exc:
        hint = " (has host bits set)" if "host bits" in str(exc) else ""
        raise ValueError(
            f"expected an address or a network such as 10.0.0.0/8, got {units.shown(value)}{hint}"
        ) from exc


Network = Annotated[
    ipaddress.IPv4Network | ipaddress.IPv6Network,
    PlainValidator(_network),
    WithJsonSchema({"type": "string"}),
    Scalar("address or network", str),
]


def _file(value: object, info: ValidationInfo) -> Path:
    """A path; one that is not absolute starts at the folder of the configuration file."""
    if isinstance(value, Path):
        return value
    name = units.text(value)
    if not name:
        raise ValueError("expected the path of a file, got nothing")
    context = info.context or {}
    return Path(context.get("folder", "")) / name


File = Annotated[
    Path, PlainValidator(_file), WithJsonSchema({"type": "string"}), Scalar("file", str)
]
