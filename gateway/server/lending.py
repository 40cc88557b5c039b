"""The hub's side of the leases: the shares of every upstream, and who is told what."""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from gateway.brokers.hub_server import Hub, Node
from gateway.brokers.hub_wire import Frame, Op

from .shares import Shares

_TURN: Final = 0.1

encode: Final = msgspec.msgpack.Encoder().encode
_DEMANDS: Final[Callable[[bytes], dict[str, tuple[int, int, int]]]] = msgspec.msgpack.Decoder(
    dict[str, tuple[int, int, int]]
).decode


class Lending:
    """Owns one timer, which runs while more workers need a connection than there are."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._shares: dict[str, Shares] = {}
        self._turns: asyncio.TimerHandle | None = None
        hub.handlers[Op.DEMAND] = self._on_demand
        hub.on_attached.append(self._on_attached)

    def serve(self, caps: dict[str, int]) -> None:
        """Keep these caps from now on; upstreams that are not among them are forgotten."""
        workers = tuple(self._hub.nodes)
        for name in [name for name in self._shares if name not in caps]:
            del self._shares[name]
        for name, cap in caps.items():
            shares = self._shares.get(name)
            if shares is None:
                shares = self._shares[name] = Shares(cap)
                for worker in workers:
                    shares.add(worker)
            shares.cap = cap
        self._settle()

    def bury(self, worker: str) -> None:
        """The worker is dead: what it had is free."""
        for shares in self._shares.values():
            shares.remove(worker)
        self._settle()

    def stop(self) -> None:
        """No more turns. Idempotent."""
        if self._turns is not None:
            self._turns.cancel()
            self._turns = None

    def _on_attached(self, node: Node) -> None:
        known = {}
        for name, shares in self._shares.items():
            if node.name in shares:
                _, number, limit = shares.limit_of(node.name)
                known[name] = (number, limit)
            else:
                shares.add(node.name)
        if known:
            node.link.tell(Op.SHARES, encode(known))
        self._settle()

    def _on_demand(self, node: Node, frame: Frame) -> None:
        for name, (number, demand, held) in _DEMANDS(frame.body).items():
            shares = self._shares.get(name)
            if shares is not None:
                shares.report(node.name, number=number, demand=demand, held=held)
        self._settle()

    def _settle(self) -> None:
        grants: dict[str, dict[str, tuple[int, int]]] = {}
        for name, shares in self._shares.items():
            for holder, number, limit in shares.settle():
                grants.setdefault(holder, {})[name] = (number, limit)
        for holder, limits in grants.items():
            node = self._hub.nodes.get(holder)
            if node is not None:
                node.link.tell(Op.SHARES, encode(limits))
        if self._turns is None and any(each.contested for each in self._shares.values()):
            self._turns = asyncio.get_running_loop().call_later(_TURN, self._take_turns)

    def _take_turns(self) -> None:
        self._turns = None
        for shares in self._shares.values():
            if shares.contested:
                shares.take_turns()
        self._settle()
