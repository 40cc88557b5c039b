"""Everything a configuration becomes: pools, targets, routes. Built whole, swapped whole.

A reload builds a new one beside the old; the old one's pools finish what they have begun.
"""

import asyncio

from gateway.backend.errands import Errands, EventQuery
from gateway.backend.queries import QueryTarget
from gateway.backend.target import Target
from gateway.backend.upstreams import Upstreams
from gateway.channels.broker import ChannelRules
from gateway.channels.policy import Authorization, ChannelPolicy, Policies
from gateway.clock import SystemClock
from gateway.config.channels import Channel, Reaction
from gateway.config.model import Config
from gateway.config.routes import Rule
from gateway.config.statements import parse_event_statement, parse_statement
from gateway.metrics import Metrics
from gateway.routing.router import Destination, Router
from gateway.sessions.admission import Gate
from gateway.sessions.attendance import Attendance
from gateway.sessions.route import Hooks, Route

from .caches import Caches
from .databases import open_databases
from .gates import RouteGate


class Runtime:
    """See the module's docstring. Made inside the event loop."""

    def __init__(self, config: Config, metrics: Metrics, before: "Runtime | None" = None) -> None:
        self.config = config
        self.upstreams: Upstreams = Upstreams(
            config.upstreams, metrics, None if before is None else before.upstreams
        )
        self.databases = open_databases(config)
        self.errands: Errands = Errands(self.databases) if before is None else before.errands
        self.caches: Caches = (
            before.caches
            if before is not None and before.caches.settings == config.stores
            else Caches(config.stores, metrics)
        )
        self.router = Router.of(config)
        self.policies = Policies(map(self._policy, config.channels))
        self._metrics = metrics
        self._authorizers: dict[Authorization, Target] = {}
        self._routes = {
            destination: (
                self._route(destination),
                RouteGate(destination.client, destination.route.auth, SystemClock.wall),
            )
            for destination in self.router.destinations
        }
        self._by_name = {route.name: route for route, _ in self._routes.values()}

    def match(self, path: str) -> tuple[Route, Gate, dict[str, str]] | None:
        """The route of a path as it came on the wire, None where there is none."""
        found = self.router.match(path)
        if found is None:
            return None
        route, gate = self._routes[found.destination]
        return route, gate, found.variables

    def named(self, name: str) -> Route | None:
        """The route of that name, for sessions that outlive a reload."""
        return self._by_name.get(name)

    @property
    def routes(self) -> tuple[str, ...]:
        """The names of the routes, in the order of the file."""
        return tuple(self._by_name)

    def authorizer(self, authorization: Authorization) -> Target:
        """The target of a channel's `authorize` script."""
        target = self._authorizers.get(authorization)
        if target is None:
            target = self._target(
                authorization.upstream, script=authorization.script, route="authorize"
            )
            self._authorizers[authorization] = target
        return target

    def take_over(self) -> None:
        """From now on this is the configuration in force, not the one before it."""
        self.errands.databases = self.databases

    async def close(self, within: float, *, successor: "Runtime | None" = None) -> None:
        """Let what is running end, at most `within` seconds, then close every connection.

        What the successor has taken over is left alone: pools, stores, queries that wait.
        """
        pools = None if successor is None else successor.upstreams
        if successor is None:
            self.errands.close()
        await asyncio.gather(
            self.upstreams.close(within, successors=pools), self.databases.close(within)
        )
        if successor is None or successor.caches is not self.caches:
            await self.caches.close()

    def expire(self, now: float) -> None:
        """Fail what has waited too long in a line of `serialize_by`."""
        for upstream in self.upstreams:
            upstream.expire(now)

    def _route(self, destination: Destination) -> Route:
        settings = destination.route
        hooks: dict[str, Target] = {}
        main: Target | None = None
        if settings.script:
            main = self._target_of(destination, settings.script, None)
            main.cache = self.caches.cache(settings.cache, main.block)
            hooks = dict.fromkeys(settings.events, main)
        rules: dict[str, Target | QueryTarget] = {}
        if settings.messages is not None:
            rules = {
                name: self._rule(destination, rule, name)
                for name, rule in settings.messages.rules.items()
            }
        return Route(destination, Hooks(**hooks, rules=rules), self._metrics)

    def _rule(self, destination: Destination, rule: Rule, name: str) -> Target | QueryTarget:
        query = rule.postgres
        target: Target | QueryTarget
        if query is None:
            target = self._target_of(destination, rule.script, name)
        else:
            statement = parse_statement(query.query)
            route = destination.route.name
            target = QueryTarget(self.databases, query.dsn, statement, route=route, rule=name)
        target.cache = self.caches.cache(rule.cache, target.block)
        return target

    def _target_of(self, destination: Destination, script: str, rule: str | None) -> Target:
        settings = destination.route
        return self._target(
            settings.upstream,
            script=script,
            route=settings.name,
            rule=rule,
            content_type=settings.content_type,
            idempotent=settings.idempotent,
            serialized=settings.serialize_by is not None,
            stream=settings.stream is not None,
        )

    def _target(self, upstream: str, **arguments: object) -> Target:
        return Target(self.upstreams[upstream], **arguments)  # type: ignore[arg-type]

    def _policy(self, channel: Channel) -> ChannelPolicy:
        authorize = channel.authorize
        asked = None if authorize is None else Authorization(authorize.upstream, authorize.script)
        on_subscribe, on_unsubscribe = _query(channel.on_subscribe), _query(channel.on_unsubscribe)
        witness = None
        if on_subscribe is not None or on_unsubscribe is not None:
            witness = Attendance(
                channel.match,
                self.errands,
                on_subscribe=on_subscribe,
                on_unsubscribe=on_unsubscribe,
            )
        return ChannelPolicy(channel.match, _rules(channel), asked, witness)


def _rules(channel: Channel) -> ChannelRules:
    return ChannelRules(
        explicit=channel.create == "explicit",
        max_subscribers=channel.max_subscribers,
        history_size=channel.history.size,
        history_ttl=channel.history.ttl,
        presence=channel.presence,
        idle_ttl=channel.idle_ttl,
    )


def _query(reaction: Reaction | None) -> EventQuery | None:
    query = None if reaction is None else reaction.postgres
    if query is None:
        return None
    return EventQuery(query.dsn, parse_event_statement(query.query))
