"""Who comes in: from a handshake to a session, or to a refusal with its status.

In two steps. `begin` decides everything that needs no waiting: the route, the gate (origin,
token), the headers. `complete` does what may wait: joining the route's channels and PHP's
`connect` event. Most routes need only the first, so most handshakes cost no task.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from fastcgi import FastCGIError, LocalProtocolError, Response
from gateway.backend.effects import SetUser, Subscribe
from gateway.backend.environ import cookies
from gateway.backend.reply import Head, effects_of, head_of
from gateway.codes import INTERNAL, Failure, failure_of
from gateway.errors import ChannelError, ChannelNotFoundError, GatewayError
from gateway.routing.channels import Variables
from gateway.routing.paths import query_variables

from .asking import ask
from .client import Handshake
from .effects import Performance
from .identity import Identity, connection_block, new_id
from .joining import join
from .json import SUBPROTOCOL, JsonWire
from .raw import RawWire
from .route import Route
from .services import Services
from .session import Session
from .wire import Wire, error_object

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
    channels: tuple[str, ...]
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
    offers = [offer for offer in handshake.subprotocols if offer != caller.subprotocol]
    wire: Wire = JSON if SUBPROTOCOL in offers else RAW
    connection_id = new_id(services.channels.node)
    connected_at_ms = int(services.clock.wall() * 1000)
    try:
        block = connection_block(
            handshake,
            connection_id=connection_id,
            connected_at_ms=connected_at_ms,
            variables=variables,
            subprotocol=wire.subprotocol,
            push_url=services.push_url(connection_id),
        )
        identity = Identity(
            connection_id,
            block=block,
            cookie=cookies(handshake.headers),
            user=caller.user,
            claims=caller.claims,
            serial_cookie=route.serial_cookie,
        )
    except (GatewayError, LocalProtocolError) as exc:
        raise refusal(failure_of(exc), str(exc)) from exc
    session = Session(route, services, identity, wire, handshake.remote)
    session.connected_at_ms = connected_at_ms
    if caller.expires_at is not None:
        session.expires_at = services.now() + caller.expires_at - services.clock.wall()
    channels = _channels(handshake, route, variables, caller.user)
    if wire is RAW:
        session.publish_to = _raw_channel(route, channels)
    return Arrival(session, handshake, wire.subprotocol, channels)


def _channels(
    handshake: Handshake, route: Route, variables: dict[str, str], user: str
) -> tuple[str, ...]:
    """The channels that the route's templates make of the handshake."""
    templates = route.destination.channels
    if not templates:
        return ()
    known = Variables(
        path=variables,
        query=query_variables(handshake.query),
        headers=dict(reversed(handshake.headers)),
        user=user,
    )
    names = (template.render(known) for template in templates)
    return tuple(dict.fromkeys(name for name in names if name is not None))


def _raw_channel(route: Route, channels: tuple[str, ...]) -> str | None:
    """Where a raw client's frames go: the one pattern's channel, of those it joined."""
    patterns = route.destination.may_publish.patterns
    if len(patterns) != 1:
        return None
    (pattern,) = patterns
    if "*" not in pattern.text:
        return pattern.text
    return next((channel for channel in channels if pattern.matches(channel)), None)


async def complete(arrival: Arrival) -> None:
    """Join the route's channels and ask PHP. Raises RefusedError; then nothing of it remains."""
    session = arrival.session
    try:
        for channel in arrival.channels:
            await join(session, channel, authorize=True)
        connect = session.route.hooks.connect
        if connect is not None:
            response = await ask(connect, session.identity, "connect")
            await _obey(arrival, response)
    except RefusedError:
        await session.abandon()
        raise
    except (GatewayError, FastCGIError) as exc:
        await session.abandon()
        raise _refusal_of(exc, show_details=session.services.show_details) from exc
    except BaseException:
        await session.abandon()
        raise


async def _obey(arrival: Arrival, response: Response) -> None:
    """Do what PHP's answer to `connect` asks for."""
    session = arrival.session
    head = head_of(response)
    if not head.ok:
        raise RefusedError(head.status, response.headers, response.body)
    if head.cookies:
        session.identity.remember_cookies(head.cookies, session.services.clock.wall())
        arrival.set_cookies = head.cookies
    _choose(arrival, head)
    effects = effects_of(head, response.body)
    # A channel that PHP asks for and that cannot be joined refuses the handshake; whatever else
    # goes wrong is told on the open connection.
    for effect in effects:
        if isinstance(effect, SetUser):
            # Before any joining: presence tells the others who it is that joins.
            session.identity.set_user(effect.user)
        elif isinstance(effect, Subscribe):
            await join(session, effect.channel)
    rest = tuple(effect for effect in effects if not isinstance(effect, SetUser | Subscribe))
    await Performance(session, rest, tag=None, message_id=0).finish()


def _choose(arrival: Arrival, head: Head) -> None:
    """Take PHP's choice of a subprotocol, where the client offered it."""
    chosen = head.subprotocol
    if not chosen or chosen == arrival.subprotocol:
        return
    if chosen not in arrival.handshake.subprotocols:
        raise GatewayError(f"connect chose the subprotocol {chosen!r}, which was not offered")
    arrival.subprotocol = chosen
    arrival.session.use(JSON if chosen == SUBPROTOCOL else RAW)


def refusal(failure: Failure, detail: str = "") -> RefusedError:
    """A refusal in the form of an error frame."""
    body = msgspec.json.encode({"error": error_object(failure, 0, detail)})
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
    if failure.status == 503:  # noqa: PLR2004 - service unavailable
        headers = (*headers, ("Retry-After", "1"))
    return RefusedError(failure.status, headers, body)


def _refusal_of(error: Exception, *, show_details: bool) -> RefusedError:
    failure = failure_of(error)
    if isinstance(error, ChannelNotFoundError):
        # Who may not know whether a channel exists hears the same as who may not join it.
        failure = Failure(403, "forbidden", "the channel is not open")
    elif failure is INTERNAL and not isinstance(error, ChannelError):
        failure = Failure(502, "upstream_error", "the application failed")
    return refusal(failure, str(error) if show_details else "")
