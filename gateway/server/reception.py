"""Who comes in through the public listener: limits first, then the route's admission.

Fulfils `transports.doorman.Doorman`. A handshake that needs no waiting is answered at once; the
others become a task of the worker's.
"""

from collections.abc import Callable
from functools import lru_cache

import structlog

from gateway.codes import NOT_FOUND, RATE_LIMITED, UNAVAILABLE, CloseCode, Failure
from gateway.errors import BrokerError
from gateway.logs import Throttle
from gateway.metrics import Counter
from gateway.sessions.admission import Arrival, RefusedError, begin, complete, refusal
from gateway.sessions.client import Handshake, TransportKind
from gateway.sessions.services import Services
from gateway.transports.doorman import Admission, Refusal, Terms, Welcome

from .company import Entries
from .runtime import Runtime

log = structlog.get_logger()

_FULL = Failure(503, "upstream_unavailable", "too many connections", CloseCode.TRY_AGAIN_LATER)
_CONGESTED = 64 * 1024


class Reception:
    """One per worker; `runtime` gives the configuration in force.

    `entries` counts who is inside the whole gateway, where there are other workers.
    """

    def __init__(
        self, services: Services, runtime: Callable[[], Runtime], entries: Entries | None = None
    ) -> None:
        self._services = services
        self._entries = entries
        self._runtime = runtime
        self._inside = 0
        self._failures = Throttle()
        self._results: dict[tuple[str, str], Counter] = {}

    def enter(self, remote: str) -> Refusal | None:
        """Count a connection in, within the limits of the whole gateway and of its address."""
        limits = self._runtime().config.client
        addresses = self._services.directory.addresses
        if limits.max_connections is not None and self._inside >= limits.max_connections:
            self._count("", "full")
            return _refusal(refusal(_FULL))
        per_address = limits.max_connections_per_ip
        if per_address is not None and addresses[remote] >= per_address:
            self._count("", "limited")
            return _refusal(refusal(RATE_LIMITED))
        self._inside += 1
        addresses[remote] += 1
        return None

    def leave(self, remote: str) -> None:
        """Count it out again."""
        self._inside -= 1
        addresses = self._services.directory.addresses
        addresses[remote] -= 1
        if not addresses[remote]:
            del addresses[remote]
        if self._entries is not None:
            self._entries.left(remote)

    def offers(self, path: str) -> frozenset[TransportKind]:
        """How clients of the route at this path may be reached; empty when there is no route."""
        found = self._runtime().match(path)
        return frozenset() if found is None else found[0].kinds

    def admit(self, handshake: Handshake, admission: Admission) -> None:
        """Let the client in, turn it away, or let it wait for PHP, channels and other workers."""
        limits = self._runtime().config.client
        limited = limits.max_connections is not None or limits.max_connections_per_ip is not None
        if self._entries is not None and limited:
            entering = self._enter_gateway(self._entries, handshake, admission)
            self._services.tasks.spawn(entering, name="counting in")
        else:
            self._admit(handshake, admission)

    async def _enter_gateway(
        self, entries: Entries, handshake: Handshake, admission: Admission
    ) -> None:
        """Ask whether the whole gateway has room; what `enter` saw was this worker alone."""
        try:
            verdict = await entries.enter(handshake.remote, self._runtime().config.client)
        except BrokerError:
            self._count("", "failed")
            admission.refuse(_refusal(refusal(UNAVAILABLE)))
            return
        if verdict:
            self._count("", verdict)
            failure = _FULL if verdict == "full" else RATE_LIMITED
            admission.refuse(_refusal(refusal(failure)))
        elif not admission.gone:
            self._admit(handshake, admission)

    def _admit(self, handshake: Handshake, admission: Admission) -> None:
        found = self._runtime().match(handshake.path)
        if found is None or handshake.kind not in found[0].kinds:
            self._count("", "not_found")
            admission.refuse(_refusal(refusal(NOT_FOUND)))
            return
        route, gate, variables = found
        try:
            arrival = begin(handshake, route, variables, gate, self._services)
        except RefusedError as refused:
            self._count(route.name, "refused")
            admission.refuse(_refusal(refused))
            return
        if arrival.waits:
            self._services.tasks.spawn(self._complete(arrival, admission), name="admission")
        else:
            self._accept(arrival, admission)

    async def _complete(self, arrival: Arrival, admission: Admission) -> None:
        name = arrival.session.route.name
        try:
            await complete(arrival)
        except RefusedError as refused:
            self._count(name, "refused")
            admission.refuse(_refusal(refused))
        except Exception:
            self._count(name, "failed")
            if self._failures.allows():
                log.exception("admission failed", route=name, **self._failures.taken())
            admission.refuse(_refusal(refusal(UNAVAILABLE)))
        else:
            if admission.gone:
                self._count(name, "gone")
                await arrival.session.lost()
            else:
                self._accept(arrival, admission)

    def _accept(self, arrival: Arrival, admission: Admission) -> None:
        try:
            self._welcome(arrival, admission)
        except Exception:
            log.exception("admission failed", route=arrival.session.route.name)
            self._services.tasks.spawn(arrival.session.lost(), name="admission")

    def _welcome(self, arrival: Arrival, admission: Admission) -> None:
        session = arrival.session
        limits = session.route.limits
        self._count(session.route.name, "accepted")
        terms = _terms(
            limits.max_message, limits.compression, limits.send_buffer, limits.longpoll_wait
        )
        admission.accept(Welcome(session.attach, arrival.subprotocol, arrival.set_cookies, terms))

    def _count(self, route: str, result: str) -> None:
        counter = self._results.get((route, result))
        if counter is None:
            counter = self._services.metrics.connections_total.labelled(route, result)
            self._results[route, result] = counter
        counter.value += 1


@lru_cache(maxsize=64)
def _terms(max_message: int, compression: bool, send_buffer: int, longpoll_wait: float) -> Terms:
    """The same object for all connections of the same terms: they keep it."""
    return Terms(max_message, compression, min(send_buffer, _CONGESTED), longpoll_wait)


def _refusal(refused: RefusedError) -> Refusal:
    return Refusal(refused.status, refused.headers, refused.body)
