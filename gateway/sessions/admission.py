"""Who comes in: from a handshake to a session, or to a refusal with its status.

In two steps. `begin` decides everything that needs no waiting: the route, the gate (origin,
token), the headers. `complete` does what may wait: joining the route's channels and PHP's
`connect` event. Most routes need only the first, so most handshakes cost no task.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
import structlog

from fastcgi import FastCGIError, LocalProtocolError, Response
from gateway.backend.effects import SetUser, Subscribe
from gateway.backend.environ import cookies
from gateway.backend.reply import Head, effects_of, head_of
from gateway.codes import Failure, failure_of
from gateway.errors import ChannelNotFoundError, GatewayError, ReplyError
from gateway.logs import Throttle
from gateway.routing.channels import ChannelTemplate, Variables
from gateway.routing.paths import query_variables

from .arriving import arrive
from .asking import ask
from .client import WEBSOCKET, Handshake, TransportKind
from .effects import Performance
from .events import EventWire
from .identity import Identity, connection_block, new_id
from .json import SUBPROTOCOL, JsonWire
from .positions import Resume
from .raw import RawWire
from .route import Route
from .services import Services
from .session import Session
from .wire import Wire, error_object

log: Final = structlog.get_logger()

_broken_replies: Final = Throttle()
RAW: Final[Wire] = RawWire()
JSON: Final[Wire] = JsonWire()


class RefusedError(GatewayError):
    """The client is turned away; status, headers and body are what it gets."""

    def __init__(
        self, status: int, headers: tuple[tuple[str, str], ...] = (), body: bytes = b""
    ) -> None:
        super().__init__(f"refused with {status}")
        self.status, self.headers, self.body = status, headers, body


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a gate found the client to be; `expires_at` is Unix time."""

    user: str = ""
    claims: str = ""
    expires_at: float | None = None
    subprotocol: str = ""
    """The offer that carried the token, if one did: it is no protocol to be chosen."""
    channels: tuple[str, ...] = ()
    """Channels and patterns that the client may join by itself, besides those of the route."""


class Gate(Protocol):
    """What stands before a route: origin and token."""

    def check(self, handshake: Handshake) -> Caller:
        """Who it is; raises RefusedError."""


@dataclass(slots=True)
class Arrival:
    """A session that is being let in."""

    session: Session
    handshake: Handshake
    subprotocol: str
    variables: dict[str, str]
    channels: tuple[str, ...] = ()
    """What is joined before PHP is asked, so that what it publishes meanwhile is not missed."""
    of_user: tuple[ChannelTemplate, ...] = ()
    """What is joined when PHP has said who the user is."""
    set_cookies: tuple[str, ...] = ()

    @property
    def waits(self) -> bool:
        """Whether `complete` has something to do."""
        return bool(self.channels) or self.session.route.hooks.connect is not None


def begin(
    handshake: Handshake,
    route: Route,
    variables: dict[str, str],
    gate: Gate,
    services: Services,
) -> Arrival:
    """Decide what needs no waiting. Raises RefusedError."""
    caller = gate.check(handshake)
    wire = _wire_of(handshake, caller)
    connection_id = new_id(services.channels.node)
    connected_at_ms = int(services.clock.wall() * 1000)
    try:
        block = connection_block(
            handshake,
            connection_id,
            connected_at_ms,
            variables,
            services.push_url(connection_id),
        )
        identity = Identity(
            connection_id,
            block=block,
            cookie=cookies(handshake.headers),
            user=caller.user,
            claims=caller.claims,
            subprotocol=wire.subprotocol,
            serial_cookie=route.serial_cookie,
            granted=caller.channels,
        )
    except (GatewayError, LocalProtocolError) as exc:
        raise refusal(failure_of(exc), str(exc)) from exc
    session = Session(route, services, identity, wire, handshake.remote)
    session.connected_at_ms = connected_at_ms
    if caller.expires_at is not None:
        session.expires_at = services.now() + caller.expires_at - services.clock.wall()
    # Browsers give up when none of their offers is chosen, so a token alone comes back to them.
    only_token = handshake.subprotocols == (caller.subprotocol,)
    chosen = caller.subprotocol if only_token else wire.subprotocol
    arrival = Arrival(session, handshake, chosen, variables)
    templates = route.destination.channels
    if templates:
        if route.hooks.connect is not None:
            # PHP has the last word on who the user is.
            arrival.of_user = tuple(template for template in templates if template.names_user)
            templates = tuple(template for template in templates if not template.names_user)
        arrival.channels = _rendered(templates, _known(handshake, variables, caller.user))
    session.publish_to = _raw_channel(route, arrival.channels)
    return arrival


def _wire_of(handshake: Handshake, caller: Caller) -> Wire:
    if handshake.kind is not WEBSOCKET:
        polling = handshake.kind is TransportKind.LONGPOLL
        return EventWire(Resume(handshake.resume), polling=polling)
    offered = SUBPROTOCOL in handshake.subprotocols and caller.subprotocol != SUBPROTOCOL
    return JSON if offered else RAW


def _known(handshake: Handshake, variables: dict[str, str], user: str) -> Variables:
    return Variables(
        path=variables,
        query=query_variables(handshake.query),
        headers=dict(reversed(handshake.headers)),
        user=user,
    )


def _rendered(templates: Iterable[ChannelTemplate], known: Variables) -> tuple[str, ...]:
    """The channels that templates make of the handshake, each once."""
    names = (template.render(known) for template in templates)
    return tuple(dict.fromkeys(name for name in names if name is not None))


def _raw_channel(route: Route, channels: Iterable[str]) -> str | None:
    """Where a raw client's frames go: the one pattern's channel, of those it joined."""
    patterns = route.destination.may_publish.patterns
    if len(patterns) != 1:
        return None
    (pattern,) = patterns
    if "*" not in pattern.text:
        return pattern.text
    return next((channel for channel in channels if pattern.matches(channel)), None)


async def complete(arrival: Arrival) -> None:
    """Join the route's channels and ask PHP. Raises RefusedError; then nothing of it remains.

    Where PHP has accepted the client and something else refuses it, PHP hears `disconnect`.
    """
    session = arrival.session
    accepted = False
    try:
        for channel in arrival.channels:
            await arrive(session, channel, authorize=True)
        connect = session.route.hooks.connect
        if connect is not None:
            response = await ask(connect, session.identity, "connect")
            head = head_of(response)
            _check(head, response)
            accepted = True
            await _obey(arrival, head, response.body)
        channels = session.services.channels.joined(session)
        session.publish_to = _raw_channel(session.route, channels)
    except BaseException as exc:
        await (session.lost() if accepted else session.abandon())
        if isinstance(exc, GatewayError | FastCGIError) and not isinstance(exc, RefusedError):
            raise _refusal_of(exc, session) from exc
        raise


async def _obey(arrival: Arrival, head: Head, body: bytes) -> None:
    """Do what PHP's answer to `connect` asks for, in its order.

    A channel that cannot be joined refuses the handshake; whatever else goes wrong is told on the
    open connection.
    """
    session = arrival.session
    if head.cookies:
        session.identity.remember_cookies(head.cookies, session.services.clock.wall())
        arrival.set_cookies = head.cookies
    _choose(arrival, head)
    effects = effects_of(head, body)
    for effect in effects:
        # Before any joining: presence tells the others who it is that joins.
        if isinstance(effect, SetUser):
            session.identity.set_user(effect.user)
    known = _known(arrival.handshake, arrival.variables, session.user)
    for channel in _rendered(arrival.of_user, known):
        await arrive(session, channel, authorize=True)
    for effect in effects:
        if isinstance(effect, Subscribe):
            await arrive(session, effect.channel)
        elif not isinstance(effect, SetUser):
            await Performance(session, (effect,), tag=None, message_id=0).perform()


def _check(head: Head, response: Response) -> None:
    """Raise PHP's own refusal, without the headers that are meant for us."""
    if not head.ok:
        headers = tuple(pair for pair in response.headers if not pair[0].startswith("ws-"))
        raise RefusedError(head.status, headers, response.body)


def _choose(arrival: Arrival, head: Head) -> None:
    """Take PHP's choice of a subprotocol, where the client offered it."""
    chosen = head.subprotocol
    if arrival.handshake.kind is not TransportKind.WEBSOCKET:
        return
    if not chosen or chosen == arrival.subprotocol:
        return
    if chosen not in arrival.handshake.subprotocols:
        raise ReplyError(f"connect chose the subprotocol {chosen!r}, which was not offered")
    arrival.subprotocol = chosen
    arrival.session.identity.set_subprotocol(chosen)
    arrival.session.use(JSON if chosen == SUBPROTOCOL else RAW)


def refusal(failure: Failure, detail: str = "") -> RefusedError:
    """A refusal in the form of an error frame."""
    body = msgspec.json.encode({"error": error_object(failure, 0, detail)})
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
    if failure.status == 503:  # noqa: PLR2004 - service unavailable
        headers = (*headers, ("Retry-After", "1"))
    return RefusedError(failure.status, headers, body)


def _refusal_of(error: Exception, session: Session) -> RefusedError:
    failure = failure_of(error)
    if isinstance(error, ChannelNotFoundError):
        # Who may not know whether a channel exists hears the same as who may not join it.
        failure = Failure(403, "forbidden", "the channel is not open")
    elif isinstance(error, ReplyError) and _broken_replies.allows():
        log.warning(
            "reply cannot be carried out",
            route=session.route.name,
            connection=session.id,
            error=str(error),
            **_broken_replies.taken(),
        )
    return refusal(failure, str(error) if session.services.show_details else "")
