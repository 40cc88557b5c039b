"""The JSON Schema of the file, for editors that complete and check while one types.

It is looser than `wsgate check`: it knows keys and forms, not whether they fit together. Every
scalar may be text with `${NAME}` in it.
"""

from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from .client import Client
from .fields import Section
from .model import Config
from .routes import Route
from .sections import is_list, keys_of, scalar_of, takes_one_or_many, walk, written_default
from .services import Database

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


class _Generator(GenerateJsonSchema):
    """Leaves defaults out: they are added in the form of the file."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's signature
        return False


def json_schema() -> dict[str, Any]:
    """The schema of the whole file."""
    schema = Config.model_json_schema(mode="validation", schema_generator=_Generator)
    definitions = schema["$defs"]
    for _, section in walk():
        own = schema if section is Config else definitions[section.__name__]
        _describe(section, own["properties"])
    route = definitions[Route.__name__]["properties"]
    for key, value in definitions[Client.__name__]["properties"].items():
        route.setdefault(key, value)
    database = definitions.pop(Database.__name__)
    definitions[Database.__name__] = {
        "anyOf": [{"type": "string"}, database],
        "description": database["description"],
    }
    # A heading with all its lines commented out is nothing, not a mistake.
    schema["properties"] = {
        key: {"anyOf": [value, {"type": "null"}], "description": value.get("description", "")}
        for key, value in schema["properties"].items()
    }
    return {"$schema": _DIALECT, **schema, "title": "wsgate"}


def _describe(section: type[Section], properties: dict[str, Any]) -> None:
    for key, field in keys_of(section).items():
        described = properties[key]
        if takes_one_or_many(field) and "anyOf" not in described:
            properties[key] = described = _one_or_many(described)
        described["description"] = field.description
        if (default := _default(field)) is not None:
            described["default"] = default


def _one_or_many(described: dict[str, Any]) -> dict[str, Any]:
    described.pop("description", None)
    return {"anyOf": [described["items"], described]}


def _default(field: FieldInfo) -> Any:
    if isinstance(field.default, bool):
        return field.default
    scalar = scalar_of(field)
    if isinstance(field.default, int) and scalar is not None and scalar.name.startswith("number"):
        return field.default
    default = written_default(field)
    # An empty list or text is how a key looks that is not there.
    return default if default or not is_list(field) else None
