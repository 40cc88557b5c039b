"""From PHP's response to a reply: a frame for the client, or effects.

PHP sends the same head with almost every frame, so what a head means is worked out once and kept
in a bounded memo; a plain reply then costs one look-up.
"""

from dataclasses import dataclass
from typing import Final

from fastcgi import Response
from gateway.errors import ReplyError

from . import effects
from .effects import Close, Effect, Publish, Send, SetMeta, SetUser, Subscribe, Unsubscribe

_BINARY: Final = "application/octet-stream"
_DEFAULT_TYPE: Final = "text/html"
_MEMO_LIMIT: Final = 256
_SUCCESS: Final = range(200, 300)
_NO_CONTENT: Final = 204


@dataclass(frozen=True, slots=True)
class Head:
    """What the head of a response asks for, whatever its body.

    `plain` is set when the body of a success is one frame for the client and no directive or
    effect is to be carried out. `before`
    and `after` are the effects that stand around the body's. `cookies` are Set-Cookie lines.
    """

    status: int
    plain: bool
    text: bool
    content_type: str
    before: tuple[Effect, ...] = ()
    publish: tuple[str, ...] = ()
    exclude_self: bool = False
    after: tuple[Effect, ...] = ()
    cookies: tuple[str, ...] = ()
    subprotocol: str = ""

    @property
    def ok(self) -> bool:
        """Whether PHP did what was asked."""
        return self.status in _SUCCESS


_memo: dict[tuple[int, tuple[tuple[str, str], ...]], Head] = {}


def head_of(response: Response) -> Head:
    """What the response's head asks for; ReplyError when a directive cannot be carried out."""
    key = response[:2]  # status and headers
    head = _memo.get(key)
    if head is None:
        head = _read(response.status, response.headers)
        if not head.cookies and not head.before:
            if len(_memo) >= _MEMO_LIMIT:
                _memo.clear()
            _memo[key] = head
    return head


def effects_of(head: Head, body: bytes) -> tuple[Effect, ...]:
    """Everything a successful reply asks for, in the order in which it is done."""
    if media_type(head.content_type) == effects.EFFECTS_TYPE:
        middle = effects.parse(body)
    elif head.publish:
        middle = tuple(
            Publish(channel, body, head.content_type, head.exclude_self) for channel in head.publish
        )
    elif body and head.status != _NO_CONTENT:
        middle = (Send(body, head.content_type),)
    else:
        middle = ()
    return (*head.before, *middle, *head.after)


def media_type(content_type: str) -> str:
    """The type without its parameters, in lower case (RFC 9110 section 8.3.1)."""
    return content_type.partition(";")[0].strip().lower()


def is_text(content_type: str) -> bool:
    """Whether data of the type travels in text frames."""
    return media_type(content_type) != _BINARY


def _read(  # noqa: C901 - one case a directive reads best in one place
    status: int, headers: tuple[tuple[str, str], ...]
) -> Head:
    before: list[Effect] = []
    after: list[Effect] = []
    publish: list[str] = []
    cookies: list[str] = []
    content_type, subprotocol, exclude_self = _DEFAULT_TYPE, "", False
    for name, value in headers:
        match name:
            case "content-type":
                content_type = value
            case "set-cookie":
                cookies.append(value)
            case "sec-websocket-protocol":
                subprotocol = value.strip()
            case "ws-subscribe":
                before += [Subscribe(channel) for channel in _list(value)]
            case "ws-unsubscribe":
                before += [Unsubscribe(channel) for channel in _list(value)]
            case "ws-publish":
                publish += _list(value)
            case "ws-exclude":
                exclude_self = _exclude(value)
            case "ws-user":
                before.insert(0, SetUser(value.strip()))
            case "ws-close":
                after.append(_close(value))
            case _ if name.startswith("ws-meta-"):
                before.append(SetMeta(name.removeprefix("ws-meta-"), value))
    return Head(
        status=status,
        plain=status in _SUCCESS
        and not (before or after or publish)
        and media_type(content_type) != effects.EFFECTS_TYPE,
        text=is_text(content_type),
        content_type=content_type,
        before=tuple(before),
        publish=tuple(publish),
        exclude_self=exclude_self,
        after=tuple(after),
        cookies=tuple(cookies),
        subprotocol=subprotocol,
    )


def _list(value: str) -> list[str]:
    return [name for part in value.split(",") if (name := part.strip())]


def _exclude(value: str) -> bool:
    if value.strip().lower() != "self":
        raise ReplyError(f'WS-Exclude: expected "self", got {value!r}')
    return True


def _close(value: str) -> Close:
    code, _, reason = value.strip().partition(" ")
    if not code.isascii() or not code.isdigit():
        raise ReplyError(f'WS-Close: expected "CODE REASON", got {value!r}')
    return Close(int(code), reason.strip())
