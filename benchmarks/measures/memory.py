"""Memory of sockets that do nothing, plain and subscribed to a channel."""

from collections.abc import Iterator

from benchmarks.measures.base import Bench, Case, Measure, numbers, settled_memory, slope
from benchmarks.peers import Peer

_CROWDS = (1000, 5000, 9000)


class Idle(Measure):
    """Opens 1,000, 5,000, 9,000 sockets and waits. The slope is the price of one more."""

    name = "memory"
    title = "Memory per idle connection"
    peers = ("wsgate", "nginx_lua", "node", "bare")

    def take(self, bench: Bench, peer: Peer) -> Iterator[Case]:
        with bench.running(peer) as running:
            points: list[tuple[float, float]] = []
            values = {"empty": settled_memory(running)}
            for wanted in _CROWDS:
                sockets = bench.scale.crowd(wanted)
                have = int(points[-1][0]) if points else 0
                bench.generator.open(f"{running.url}/echo", sockets - have)
                points.append((float(sockets), settled_memory(running)))
                values[f"at_{wanted}"] = points[-1][1]
            yield "idle", {**values, "bytes_per_connection": slope(points)}


class Subscribed(Measure):
    """The same with every socket subscribed to one channel, which has carried one message."""

    name = "memory_subscribed"
    title = "Memory per subscribed connection"
    peers = ("wsgate", "nchan")

    def take(self, bench: Bench, peer: Peer) -> Iterator[Case]:
        with bench.running(peer, warm=False) as running:
            points: list[tuple[float, float]] = []
            values = {"empty": settled_memory(running)}
            for wanted in _CROWDS:
                sockets = bench.scale.crowd(wanted)
                have = int(points[-1][0]) if points else 0
                bench.generator.subscribe(f"{running.url}/subscribe/all", sockets - have)
                answer = bench.generator.publish(running.publish, 1)
                points.append((float(sockets), settled_memory(running)))
                values[f"at_{wanted}"] = points[-1][1]
            yield (
                "subscribed",
                {**numbers(answer), **values, "bytes_per_connection": slope(points)},
            )
