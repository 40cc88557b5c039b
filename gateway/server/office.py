"""What the hub keeps for all workers besides channels: who is inside, wills, and the numbers.

The supervisor asks it whom it knows and tells it who has died; a worker whose connection to the
hub is lost has not died.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog

from gateway.brokers.hub_server import Hub, Node
from gateway.brokers.hub_wire import Frame, Op
from gateway.errors import BrokerError
from gateway.logs import Throttle
from gateway.series import Snapshot, merge

from .tally import Tally
from .wills import Will, Wills

log = structlog.get_logger()

PATIENCE: Final = 0.5
"""How long numbers are waited for; a worker that is silent for longer is left out."""

_PASSING: Final = frozenset(
    {
        "wsgate_connections",
        "wsgate_fastcgi_in_flight",
        "wsgate_fastcgi_queue_length",
        "wsgate_fastcgi_connections",
        "wsgate_channels",
        "wsgate_subscriptions",
        "wsgate_source_away",
        "wsgate_build_info",
    }
)
"""Numbers that end with their worker; the others were counted and stay."""

encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final[Callable[[bytes], Any]] = msgspec.msgpack.Decoder().decode
_ENTRY: Final[Callable[[bytes], tuple[str, int | None, int | None]]] = msgspec.msgpack.Decoder(
    tuple[str, int | None, int | None]
).decode
_INSIDE: Final[Callable[[bytes], dict[str, int]]] = msgspec.msgpack.Decoder(dict[str, int]).decode
_NAME: Final[Callable[[bytes], str]] = msgspec.msgpack.Decoder(str).decode
_WILL: Final[Callable[[bytes], Will]] = msgspec.msgpack.Decoder(Will).decode
_WILLS: Final[Callable[[bytes], list[Will]]] = msgspec.msgpack.Decoder(list[Will]).decode


class Office:
    """Handlers of a hub. `facts` says what the supervisor knows, as the API shows it."""

    def __init__(self, hub: Hub, facts: Callable[[], dict[str, Any]]) -> None:
        self.tally = Tally()
        self.wills = Wills()
        self._hub = hub
        self._facts = facts
        self._last: dict[str, Snapshot] = {}
        self._past: Snapshot = {}
        self._too_many = Throttle()
        hub.handlers |= {
            Op.ENTER: self._on_enter,
            Op.LEAVE_GATEWAY: self._on_leave,
            Op.INSIDE: self._on_inside,
            Op.WILL: self._on_will,
            Op.REVOKE: self._on_revoke,
            Op.WILLS: self._on_wills,
            Op.GATHER: self._on_gather,
        }

    def bury(self, worker: str) -> None:
        """The worker is dead: nobody of it is inside, and PHP is to hear so."""
        self.tally.remove(worker)
        self.wills.bury(worker)
        last = self._last.pop(worker, None)
        if last is not None:
            counted = {name: rows for name, rows in last.items() if name not in _PASSING}
            self._past = merge([self._past, counted])

    def bequeath(self, heir: str) -> None:
        """Let a worker tell PHP of those whose workers are dead."""
        node = self._hub.nodes.get(heir)
        if node is not None:
            for batch in self.wills.inherit(heir):
                node.link.tell(Op.INHERIT, encode(batch))

    # Who is inside.

    def _on_enter(self, node: Node, frame: Frame) -> bytes:
        address, most, most_of_address = _ENTRY(frame.body)
        verdict = self.tally.enter(node.name, address, most=most, most_of_address=most_of_address)
        return encode(verdict)

    def _on_leave(self, node: Node, frame: Frame) -> None:
        self.tally.leave(node.name, _NAME(frame.body))

    def _on_inside(self, node: Node, frame: Frame) -> None:
        self.tally.replace(node.name, _INSIDE(frame.body))

    # Wills.

    def _on_will(self, node: Node, frame: Frame) -> None:
        if not self.wills.keep(node.name, _WILL(frame.body)) and self._too_many.allows():
            log.error("disconnect events cannot be kept", kept=len(self.wills))

    def _on_revoke(self, node: Node, frame: Frame) -> None:
        self.wills.revoke(node.name, _NAME(frame.body))

    def _on_wills(self, node: Node, frame: Frame) -> None:
        self.wills.replace(node.name, _WILLS(frame.body))

    # Numbers.

    async def _on_gather(self, _node: Node, _frame: Frame) -> bytes:
        names = list(self._hub.nodes)
        answers = await asyncio.gather(
            *(self._hub.ask(name, Op.EXPORT, b"", PATIENCE) for name in names),
            return_exceptions=True,
        )
        workers: list[dict[str, Any]] = []
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, bytes):
                export = _decode(answer)
                self._last[name] = export["numbers"]
                workers.append(export)
            elif not isinstance(answer, BrokerError):
                log.error("numbers could not be gathered", exc_info=answer)
        return encode({**self._facts(), "past": self._past, "exports": workers})
