"""The tree of sections: which keys a place of the file has, and where a key belongs.

Read from the models, so that hints, JSON Schema and reference know every key they know.
"""

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from .client import Client
from .fields import OneOrMany, Scalar, Section
from .model import Config
from .routes import Route


def key_of(name: str, field: FieldInfo) -> str:
    """The field's key in the file."""
    return field.alias or name


def keys_of(section: type[Section]) -> dict[str, FieldInfo]:
    """The keys of a section, in order."""
    return {key_of(name, field): field for name, field in section.model_fields.items()}


def inner_sections(annotation: Any) -> tuple[type[Section], ...]:
    """The sections a value of this type holds, in whatever lists or mappings."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return (annotation,)
    return tuple(
        section for argument in get_args(annotation) for section in inner_sections(argument)
    )


def is_named(annotation: Any) -> bool:
    """Whether the value is a mapping whose keys the user chooses."""
    return get_origin(annotation) is dict


def section_at(loc: Sequence[str | int]) -> type[Section] | None:
    """The section at a pydantic location, None where the keys are the user's own."""
    section: type[Section] = Config
    parts = iter(loc)
    for part in parts:
        field = keys_of(section).get(str(part))
        if field is None:
            return None
        sections = inner_sections(field.annotation)
        if not sections:
            return None
        section = sections[0]
        if len(sections) > 1:
            # A union: the list's index, then the type it was recognised by.
            next(parts, None)
            tag = next(parts, None)
            section = next(
                (one for one in sections if tag in get_args(one.model_fields["type"].annotation)),
                section,
            )
        elif is_named(field.annotation) or get_origin(field.annotation) is tuple:
            next(parts, None)
    return section


def scalar_of(field: FieldInfo) -> Scalar | None:
    """What the reference says of the key's value, of a list's items, of a mapping's values."""
    found = [one for one in field.metadata if isinstance(one, Scalar)]
    return found[0] if found else _scalar_in(field.annotation)


def _scalar_in(annotation: Any) -> Scalar | None:
    for argument in reversed(get_args(annotation)):
        if isinstance(argument, Scalar):
            return argument
        if found := _scalar_in(argument):
            return found
    return None


def takes_one_or_many(field: FieldInfo) -> bool:
    """Whether a single value stands for a list of one."""
    return OneOrMany in field.metadata


def is_list(field: FieldInfo) -> bool:
    """Whether the value is a list."""
    return get_origin(field.annotation) is tuple


def written_default(field: FieldInfo) -> list[str] | str | None:
    """The default as the file would have it; None where the description tells it."""
    scalar, default = scalar_of(field), field.default
    if scalar is None or default is PydanticUndefined:
        return None
    if isinstance(default, tuple):
        return [scalar.write(item) for item in default]
    if default is None and "off" not in scalar.name:
        return None
    return scalar.write(default)


def walk(
    section: type[Section] = Config, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], type[Section]]]:
    """Every section with its path, `NAME` and `[]` standing for what the user chooses."""
    yield path, section
    for key, field in keys_of(section).items():
        for inner in inner_sections(field.annotation):
            if is_named(field.annotation):
                yield from walk(inner, (*path, key, "NAME"))
            elif get_origin(field.annotation) is tuple:
                yield from walk(inner, (*path, f"{key}[]"))
            else:
                yield from walk(inner, (*path, key))


def hint_for(key: str, section: type[Section]) -> str:
    """What to say after "unknown key": the nearest known key, or where the key belongs."""
    known = list(keys_of(section))
    if section is Route:
        known += keys_of(Client)
    if near := difflib.get_close_matches(key, known, n=1, cutoff=0.8):
        return f"; did you mean {near[0]}?"
    elsewhere = [".".join((*path, key)) for path, other in walk() if key in keys_of(other)]
    if elsewhere:
        return f"; it belongs in {' or '.join(elsewhere[:2])}"
    if near := difflib.get_close_matches(key, known, n=1, cutoff=0.6):
        return f"; did you mean {near[0]}?"
    nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    return f"; the nearest known key is {nearest[0]}" if nearest else ""
