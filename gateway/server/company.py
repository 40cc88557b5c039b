"""The other workers, as one worker sees them: through the hub.

Answers what a worker alone knows by itself: who is inside the whole gateway, what the numbers of
all are, who tells PHP of a connection if this process dies.
"""

import os
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.brokers.hub_client import HubClient
from gateway.brokers.hub_wire import Op
from gateway.config.client import Client as Limits
from gateway.errors import BrokerError
from gateway.metrics import Snapshot, merge
from gateway.sessions.bequest import Bequest, Departed
from gateway.sessions.session import Session

from .leases import Leases
from .wills import Will

if TYPE_CHECKING:
    from .worker import Worker

_GATHERING: Final = 1.5

encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final[Callable[[bytes], Any]] = msgspec.msgpack.Decoder().decode
_VERDICT: Final[Callable[[bytes], str]] = msgspec.msgpack.Decoder(str).decode
_GRANTS: Final[Callable[[bytes], dict[str, tuple[int, int]]]] = msgspec.msgpack.Decoder(
    dict[str, tuple[int, int]]
).decode
_REASONS: Final[Callable[[bytes], list[str]]] = msgspec.msgpack.Decoder(list[str]).decode
_WILLS: Final[Callable[[bytes], list[Will]]] = msgspec.msgpack.Decoder(list[Will]).decode


class Entries:
    """Who of this worker is counted inside the whole gateway.

    Connections of one address are alike, so only their number matters: never more are counted in
    the hub than are here.
    """

    def __init__(self, client: HubClient) -> None:
        self._client = client
        self._counted: Counter[str] = Counter()
        self._here: Counter[str] = Counter()

    def watch(self, here: Counter[str]) -> None:
        """The connections of this worker by address, as the reception counts them."""
        self._here = here

    async def enter(self, address: str, limits: Limits) -> str:
        """Whether one more may come in: empty, or `full`, or `limited`.

        Raises BrokerUnavailableError while the hub is away.
        """
        asked = (address, limits.max_connections, limits.max_connections_per_ip)
        verdict = _VERDICT(await self._client.call(Op.ENTER, encode(asked)))
        if not verdict:
            if self._here[address] > self._counted[address]:
                self._counted[address] += 1
            else:
                self._client.tell(Op.LEAVE_GATEWAY, encode(address))
        return verdict

    def left(self, address: str) -> None:
        """One of the address has been taken out of those here."""
        if self._counted[address] > self._here[address]:
            self._counted[address] -= 1
            self._client.tell(Op.LEAVE_GATEWAY, encode(address))
        if not self._counted[address]:
            del self._counted[address]

    def announce(self) -> None:
        """Say anew who is here; the hub may have forgotten, or never been told."""
        self._counted = Counter(self._here)
        self._client.tell(Op.INSIDE, encode(dict(self._here)))


class Company:
    """See the module's docstring. Fulfils `sessions.bequest.Wills`."""

    def __init__(self, client: HubClient) -> None:
        self.reasons: tuple[str, ...] = ()
        """Why the whole gateway is not ready, as the supervisor sees it."""
        self.entries = Entries(client)
        self.leases = Leases(lambda reports: client.tell(Op.DEMAND, encode(reports)))
        self._client = client
        self._worker: Worker | None = None
        client.on_connected.append(self._on_connected)
        client.handlers |= {
            Op.SHARES: self._on_shares,
            Op.SITUATION: self._on_situation,
            Op.EXPORT: self._on_export,
            Op.INHERIT: self._on_inherit,
        }

    def join(self, worker: "Worker") -> None:
        """The worker has everything by which it can answer."""
        self._worker = worker
        self.entries.watch(worker.services.directory.addresses)

    # Wills.

    def keep(self, session: Session) -> None:
        """Keep what the `disconnect` event of the session needs."""
        self._client.tell(Op.WILL, encode(_will(session)))

    def revoke(self, connection_id: str) -> None:
        """PHP has heard it, or need not."""
        self._client.tell(Op.REVOKE, encode(connection_id))

    # Numbers.

    async def gather(self) -> dict[str, Any]:
        """What the supervisor and every worker that answers in time know.

        `numbers` is their sum; BrokerError while the hub is away.
        """
        gathered: dict[str, Any] = _decode(await self._client.call(Op.GATHER, b"", _GATHERING))
        exports = gathered.pop("exports")
        numbers: list[Snapshot] = [each["numbers"] for each in exports]
        gathered["numbers"] = merge([*numbers, gathered.pop("past"), gathered.pop("own")])
        connections = {each["pid"]: each["connections"] for each in exports}
        for process in gathered["processes"]:
            process["connections"] = connections.get(process["pid"])
        return gathered

    async def gathered(self) -> dict[str, Any] | None:
        """As `gather`; None while the hub is away."""
        try:
            return await self.gather()
        except BrokerError:
            return None

    # What the hub says.

    def _on_connected(self) -> None:
        self.leases.announce()
        self.entries.announce()
        worker = self._worker
        if worker is not None:
            wills = [
                _will(session)
                for session in (*worker.services.directory, *worker.services.directory.lingering)
                if session.wire.lasting and session.route.hooks.disconnect is not None
            ]
            wills += map(_will, worker.services.farewell.waiting)
            self._client.tell(Op.WILLS, encode(wills))

    def _on_shares(self, body: bytes) -> None:
        self.leases.grant(_GRANTS(body))

    def _on_situation(self, body: bytes) -> None:
        self.reasons = tuple(_REASONS(body))

    def _on_export(self, _body: bytes) -> bytes:
        worker = self._worker
        if worker is None:
            return encode({"pid": os.getpid(), "connections": 0, "numbers": {}})
        connections = len(worker.services.directory)
        numbers = worker.metrics.export()
        return encode({"pid": os.getpid(), "connections": connections, "numbers": numbers})

    def _on_inherit(self, body: bytes) -> None:
        worker = self._worker
        for will in _WILLS(body):
            route = None if worker is None else worker.runtime.named(will.route)
            if worker is None or route is None:
                self.revoke(will.id)
                continue
            farewell = worker.services.farewell
            blocks = (will.block, will.state_block)
            farewell.add(Bequest(will.id, route, blocks, will.serial_key, farewell))


def _will(departed: Departed) -> Will:
    """What is left when the process is gone."""
    block, state_block = departed.blocks
    return Will(departed.id, departed.route.name, block, state_block, departed.serial_key)
