"""Handshakes per second, and the CPU of one."""

from collections.abc import Iterator

from benchmarks.measures.base import Bench, Case, Measure, Meter, numbers
from benchmarks.peers import Peer

_COUNT = 4000


class Handshakes(Measure):
    """Sockets that open, 32 at a time, and stay silent; PHP hears nothing of them.

    The ceiling shows what a compiled WebSocket server on the same event loop needs.
    """

    name = "handshakes"
    title = "Handshakes"
    peers = ("wsgate", "nginx_lua", "node", "bare", "ceiling")

    def take(self, bench: Bench, peer: Peer) -> Iterator[Case]:
        count = bench.scale.count(_COUNT)
        with bench.running(peer) as running:
            bench.generator.handshakes(f"{running.url}/echo", count)
            bench.generator.disperse()
            meter = Meter(running)
            answer = bench.generator.handshakes(f"{running.url}/echo", count)
            yield "handshakes", {**numbers(answer), **meter.per(count)}
            bench.generator.disperse()
