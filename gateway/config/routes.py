"""Which paths clients may connect to, and what becomes of their frames."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema, model_validator

from . import units
from .auth import Auth
from .client import Client
from .fields import Count, Lines, OneOrMany, PositiveDuration, Scalar, Section, Switch, Text, word
from .scripts import check_script
from .statements import check_statement
from .templates import check_channel, check_path, check_pattern, check_select, default_name
from .units import shown

Event = Literal["connect", "message", "disconnect", "subscribe", "publish"]
Transport = Literal["websocket", "sse", "longpoll"]
_Script = Annotated[Text, AfterValidator(check_script)]
_Pattern = Annotated[Text, AfterValidator(check_pattern)]


@dataclass(frozen=True, slots=True)
class SerializeBy:
    """What makes two connections wait for each other: the cookie of that name."""

    kind: Literal["cookie"]
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def _serialize_by(value: object) -> SerializeBy | None:
    if value is None or isinstance(value, SerializeBy):
        return value
    kind, _, name = units.text(value).partition(":")
    if kind != "cookie" or not name:
        raise ValueError(f"expected cookie:NAME, got {shown(value)}")
    return SerializeBy("cookie", name)


def _cache_key(value: object) -> str | tuple[str, ...]:
    if isinstance(value, list | tuple) and value:
        return tuple(units.text(field) for field in value)
    words = ("body", "body+path", "body+user")
    if isinstance(value, str) and value in words:
        return value
    raise ValueError(
        f"expected {', '.join(words)} or a list of fields of the body, got {shown(value)}"
    )


def _stream(value: object) -> Literal["lines"] | None:
    if value == "lines":
        return "lines"
    if value is None or value is False or (isinstance(value, str) and value.lower() == "off"):
        return None
    raise ValueError(f"expected lines or off, got {shown(value)}")


class Cache(Section):
    """Replies that are kept, so that PHP is not asked the same twice.

    Kept is a plain 2xx reply without Set-Cookie and without effects; whoever asks what is being
    asked already waits for that answer.
    """

    ttl: PositiveDuration = Field(description="How long a reply is good.")
    key: Annotated[
        str | tuple[str, ...],
        PlainValidator(_cache_key),
        WithJsonSchema(
            {
                "anyOf": [
                    {"enum": ["body", "body+path", "body+user"]},
                    {"type": "array", "items": {"type": "string"}, "minItems": 1},
                ]
            }
        ),
        Scalar("body \\| body+path \\| body+user \\| list of fields", str),
    ] = Field(
        default="body",
        description="What two frames must share to get the same reply: the body, with the path "
        "or the user, or some fields of a JSON body.",
    )
    store: Annotated[
        Literal["memory", "memcached", "redis"], *word("memory", "memcached", "redis")
    ] = Field(default="memory", description="Where replies are kept; see `stores`.")


class Query(Section):
    """A query that answers a message instead of PHP; its rows go back as JSON."""

    dsn: Text = Field(description="The name of one of the `databases`.")
    query: Annotated[Lines, AfterValidator(check_statement)] = Field(
        description="One statement; `:field` is a field of the JSON frame, bound as a parameter. "
        "A field that is null is NULL, one that is missing an error frame 400."
    )


class Rule(Section):
    """What answers the messages whose selected field has this value."""

    script: _Script = Field(default="", description="The script, below document_root.")
    cache: Cache | None = Field(
        default=None, description="Keeps the replies of this rule. Default: nothing is kept."
    )
    postgres: Query | None = Field(
        default=None, description="A query instead of a script. Default: none."
    )

    @model_validator(mode="after")
    def _has_one_answer(self) -> Self:
        if bool(self.script) == bool(self.postgres):
            raise ValueError("needs script or postgres, one of them")
        return self


class Messages(Section):
    """Rules by a field of a JSON frame."""

    select: Annotated[Text, AfterValidator(check_select)] = Field(
        description="A dotted path into the JSON body, such as `action`."
    )
    rules: dict[str, Rule] = Field(
        min_length=1,
        description='A rule for each value of that field; `"*"` for the rest, also for frames '
        "that are not JSON. Without it such frames get an error frame.",
    )


class Route(Section):
    """A path that clients connect to; the first route that matches counts."""

    path: Annotated[Text, AfterValidator(check_path)] = Field(
        description="`{name}` is one segment, `{name:.*}` the rest; both reach PHP as WS_PATH_NAME."
    )
    name: Text = Field(
        default_factory=lambda data: default_name(data.get("path", "/")),
        min_length=1,
        description="What logs, metrics and WS_ROUTE call it. Default: derived from the path.",
    )
    upstream: Text = Field(
        default="", description="The upstream that runs the scripts; needed when PHP hears events."
    )
    script: _Script = Field(
        default="",
        description="The script, below document_root; fixed, never taken from the client.",
    )
    events: Annotated[
        tuple[
            Annotated[Event, *word("connect", "message", "disconnect", "subscribe", "publish")],
            ...,
        ],
        OneOrMany,
    ] = Field(default=("message",), description="Which events PHP hears.")
    content_type: Text = Field(
        default="application/json", min_length=1, description="CONTENT_TYPE of text frames."
    )
    on_error: Annotated[Literal["frame", "close", "ignore"], *word("frame", "close", "ignore")] = (
        Field(
            default="frame",
            description="When PHP answers 4xx or 5xx: an error frame, close, or nothing.",
        )
    )
    concurrency: Count = Field(
        default=1,
        description="Requests in flight for one connection; replies stay in order.",
    )
    serialize_by: Annotated[
        SerializeBy | None,
        PlainValidator(_serialize_by),
        WithJsonSchema({"type": "string", "pattern": "^cookie:.+$"}),
        Scalar("cookie:NAME", str),
    ] = Field(
        default=None,
        description="One request at a time for all connections that send the same cookie, "
        "because PHP locks a session for a whole request. Default: each connection by itself.",
    )
    idempotent: Switch = Field(
        default=False,
        description="A frame may be sent to PHP again after an unclear failure.",
    )
    stream: Annotated[
        Literal["lines"] | None,
        PlainValidator(_stream),
        WithJsonSchema({"enum": ["lines", "off", False]}),
        Scalar("lines \\| off", units.written),
    ] = Field(default=None, description="`lines`: every line PHP flushes is a frame at once.")
    cache: Cache | None = Field(
        default=None,
        description="Keeps the replies of the route's own script; a rule has a cache of its own. "
        "Default: nothing is kept.",
    )
    subscribe: Annotated[tuple[Annotated[Text, AfterValidator(check_channel)], ...], OneOrMany] = (
        Field(
            default=(),
            description="Channels joined at connect. `{name}` is a path variable; `{query.x}`, "
            "`{header.x}` and `{user}` are taken from the handshake. One whose variable is absent "
            "joins nothing.",
        )
    )
    client_subscribe: Annotated[tuple[_Pattern, ...], OneOrMany] = Field(
        default=(),
        description="Channels that a client may join by itself (json protocol).",
    )
    client_publish: Annotated[tuple[_Pattern, ...], OneOrMany] = Field(
        default=(),
        description="Channels that a client may publish to. With the raw protocol and one "
        "pattern, frames are published there.",
    )
    announce_url: Switch = Field(
        default=False, description="Send the connection's push URL as first frame."
    )
    transports: Annotated[
        tuple[Annotated[Transport, *word("websocket", "sse", "longpoll")], ...], OneOrMany
    ] = Field(
        default=("websocket",),
        min_length=1,
        description="How clients may connect; `sse` and `longpoll` only receive.",
    )
    auth: Auth = Field(default=Auth(), description="How clients are known.")
    messages: Messages | None = Field(
        default=None, description="Rules by a field of the message. Default: one script for all."
    )
    client: Client = Field(
        default=Client(),
        description="What differs from the defaults of `client`, for this route. These keys may "
        "also stand directly in the route.",
    )

    @model_validator(mode="before")
    @classmethod
    def _gather_client_keys(cls, value: Any) -> Any:
        """Keys of `client` that stand directly in the route belong to its client section."""
        if not isinstance(value, dict):
            return value
        direct = {key: value[key] for key in value if key in Client.model_fields}
        if not direct:
            return value
        block = value.get("client") or {}
        if not isinstance(block, dict):
            return value
        if twice := direct.keys() & block.keys():
            raise ValueError(f"{min(twice)} stands in the route and in its client section")
        rest = {key: value[key] for key in value if key not in direct}
        return {**rest, "client": {**block, **direct}}

    @model_validator(mode="after")
    def _keeps_what_is_whole(self) -> Self:
        rules = self.messages.rules.values() if self.messages else ()
        if self.stream and (self.cache or any(rule.cache for rule in rules)):
            raise ValueError("stream and cache exclude each other: only a whole reply is kept")
        return self

    @model_validator(mode="after")
    def _has_what_its_events_need(self) -> Self:
        if self.messages and "message" not in self.events:
            raise ValueError("messages has rules, but events has no message")
        if heard := self._events_for_script():
            if not self.script:
                raise ValueError(f"needs script, because PHP hears {', '.join(heard)}")
        elif self.script and not self.events:
            raise ValueError("has a script, but events is empty: PHP hears nothing")
        if not self.upstream and (self.script or self._rules_have_scripts()):
            raise ValueError("needs upstream, because it has a script")
        return self

    def _events_for_script(self) -> list[str]:
        """The events that the route's own script must answer."""
        answered = bool(self.messages or self.client_publish)
        return [event for event in self.events if event != "message" or not answered]

    def _rules_have_scripts(self) -> bool:
        return self.messages is not None and any(
            rule.script for rule in self.messages.rules.values()
        )
