"""One route of the configuration, made ready for its sessions.

Made at start and at every reload; sessions of a route that a reload has changed are handed the
new one. Immutable but for what its targets learn.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gateway.backend.queries import QueryTarget
from gateway.backend.target import Target
from gateway.codes import BAD_REQUEST, Failure
from gateway.config.client import Client as Limits
from gateway.metrics import Counter, Metrics
from gateway.routing.router import Destination

from .client import TransportKind
from .peer import Peer

_NO_RULE = Failure(400, "bad_request", "no rule takes this message", BAD_REQUEST.close)


@dataclass(frozen=True, slots=True)
class Numbers:
    """What is counted of one route, asked for once; see `gateway.metrics`."""

    text: Counter
    binary: Counter
    replies: Counter
    errors: Counter
    pushes: Counter

    @classmethod
    def of(cls, metrics: Metrics, route: str) -> "Numbers":
        """The counters of a route by its name."""
        return cls(
            text=metrics.messages_received_total.labelled(route, "text"),
            binary=metrics.messages_received_total.labelled(route, "binary"),
            replies=metrics.messages_sent_total.labelled("reply"),
            errors=metrics.messages_sent_total.labelled("error"),
            pushes=metrics.messages_sent_total.labelled("push"),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Hooks:
    """Which target hears which event; None where PHP does not want it.

    `rules` are the targets of the message rules by name, where the route has rules.
    """

    connect: Target | None = None
    message: Target | None = None
    disconnect: Target | None = None
    subscribe: Target | None = None
    publish: Target | None = None
    rules: Mapping[str, Target | QueryTarget] = field(default_factory=dict)


class Question(Protocol):
    """A message of a client, as its answer has to name it."""

    tag: object
    message_id: int


class Route:
    """See the module's docstring. The attributes are copies of what a frame needs to look at."""

    __slots__ = (
        "announce_url",
        "concurrency",
        "counts_silence",
        "destination",
        "hooks",
        "kinds",
        "limits",
        "name",
        "numbers",
        "on_error",
        "only",
        "rules",
        "serial_cookie",
    )

    def __init__(self, destination: Destination, hooks: Hooks, metrics: Metrics) -> None:
        settings = destination.route
        self.destination = destination
        self.hooks = hooks
        # What takes the messages: the rules, or where there are none the only target, if any.
        self.rules = destination.rules
        self.only = hooks.message
        self.numbers = Numbers.of(metrics, settings.name)
        self.name = settings.name
        self.limits: Limits = destination.client
        # Only where `idle_timeout` is on does anybody ask when something was sent.
        self.counts_silence = destination.client.idle_timeout is not None
        self.on_error = settings.on_error
        self.concurrency = settings.concurrency
        self.announce_url = settings.announce_url
        self.serial_cookie = settings.serialize_by.name if settings.serialize_by else ""
        self.kinds = frozenset(TransportKind(kind) for kind in settings.transports)

    def select(self, payload: bytes, *, text: bool) -> Target | QueryTarget | Failure | None:
        """The target of a message; a failure where no rule takes it, None without PHP."""
        rules = self.rules
        if rules is None:
            return self.only
        choice = rules.choose(payload, text=text)
        return _NO_RULE if choice is None else self.hooks.rules[choice.name]

    def failed(self, session: Peer, failure: Failure, message: Question, detail: str) -> None:
        """PHP gave no usable answer: never silence, whatever `on_error` says."""
        self.numbers.errors.value += 1
        if self.on_error == "close":
            session.close(failure.close, failure.message)
        else:
            session.fail(failure, message.tag, message.message_id, detail)

    def refused(self, session: Peer, failure: Failure, message: Question) -> None:
        """PHP answered with an error of its own: what `on_error` says."""
        if self.on_error != "ignore":
            self.failed(session, failure, message, "")
