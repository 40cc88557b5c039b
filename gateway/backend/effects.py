"""What PHP may ask for in a reply, as values; carried out by `gateway.sessions`.

A reply is a list of effects in the order in which they are done. PHP writes them as headers of a
plain reply or, several of them, as a JSON list of Content-Type application/vnd.wsgate+json.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from gateway.codes import may_be_sent
from gateway.errors import ReplyError

EFFECTS_TYPE: Final = "application/vnd.wsgate+json"
JSON_TYPE: Final = "application/json"
_LONGEST_REASON: Final = 123  # RFC 6455 section 5.5: a control frame holds 125 bytes
_MOST_EFFECTS: Final = 1000


@dataclass(frozen=True, slots=True)
class Send:
    """One frame to the connection that is being answered."""

    data: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Publish:
    """One publication to a channel."""

    channel: str
    data: bytes
    content_type: str
    exclude_self: bool = False


@dataclass(frozen=True, slots=True)
class Subscribe:
    """The connection joins a channel."""

    channel: str


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """The connection leaves a channel."""

    channel: str


@dataclass(frozen=True, slots=True)
class SetMeta:
    """Something to be remembered on the connection; an empty value forgets it."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class SetUser:
    """Who the connection belongs to (on connect)."""

    user: str


@dataclass(frozen=True, slots=True)
class Close:
    """The connection is closed after everything before it was sent."""

    code: int
    reason: str = ""

    def __post_init__(self) -> None:
        if not may_be_sent(self.code):
            raise ReplyError(f"{self.code} is not a close code that may be sent")
        if len(self.reason.encode()) > _LONGEST_REASON:
            raise ReplyError(f"a close reason has at most {_LONGEST_REASON} bytes")


Effect = Send | Publish | Subscribe | Unsubscribe | SetMeta | SetUser | Close

_decode: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode


def parse(body: bytes) -> tuple[Effect, ...]:
    """The effects of a JSON list; ReplyError names the first one that cannot be done."""
    try:
        entries = _decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        raise ReplyError(f"the effects are not a JSON list of objects: {exc}") from exc
    if len(entries) > _MOST_EFFECTS:
        raise ReplyError(f"{len(entries)} effects in one reply, limit {_MOST_EFFECTS}")
    effects: list[Effect] = []
    for number, entry in enumerate(entries):
        if len(entry) != 1:
            raise ReplyError(f"effect {number}: expected one name, got {sorted(entry)}")
        ((name, value),) = entry.items()
        build = _BUILDERS.get(name)
        if build is None:
            raise ReplyError(f"effect {number}: {name!r} is none of {', '.join(_BUILDERS)}")
        try:
            effects.extend(build(value))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, ReplyError) as exc:
            raise ReplyError(f"effect {number}, {name}: {exc}") from exc
    return tuple(effects)


class _PublishShape(msgspec.Struct, forbid_unknown_fields=True):
    channel: str
    data: msgspec.Raw
    exclude_self: bool = False


class _CloseShape(msgspec.Struct, forbid_unknown_fields=True):
    code: int = 1000
    reason: str = ""


_names: Final = msgspec.json.Decoder(str | list[str]).decode
_publish: Final = msgspec.json.Decoder(_PublishShape).decode
_close: Final = msgspec.json.Decoder(_CloseShape).decode
_meta: Final = msgspec.json.Decoder(dict[str, str | int | float | bool | None]).decode


def _channels(value: msgspec.Raw) -> list[str]:
    found = _names(value)
    return [found] if isinstance(found, str) else found


def _build_publish(value: msgspec.Raw) -> list[Effect]:
    shape = _publish(value)
    return [Publish(shape.channel, bytes(shape.data), JSON_TYPE, shape.exclude_self)]


def _build_meta(value: msgspec.Raw) -> list[Effect]:
    return [SetMeta(name, _scalar(stored)) for name, stored in _meta(value).items()]


def _scalar(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(value)


def _build_close(value: msgspec.Raw) -> list[Effect]:
    shape = _close(value)
    return [Close(shape.code, shape.reason)]


_BUILDERS: Final[dict[str, Callable[[msgspec.Raw], list[Effect]]]] = {
    "send": lambda value: [Send(bytes(value), JSON_TYPE)],
    "publish": _build_publish,
    "subscribe": lambda value: [Subscribe(name) for name in _channels(value)],
    "unsubscribe": lambda value: [Unsubscribe(name) for name in _channels(value)],
    "meta": _build_meta,
    "close": _build_close,
}
