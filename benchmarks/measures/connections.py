"""What a frame costs as more sockets stand around it."""

from collections.abc import Iterator

from benchmarks.measures.base import Bench, Case, Measure, Meter, numbers
from benchmarks.peers import Peer

_CROWDS = (10, 100, 1000, 5000, 9000)
_FRAMES = 9_000
_IN_FLIGHT = 10


class Connections(Measure):
    """Always ten frames on their way; they walk round all open sockets."""

    name = "connections"
    title = "Cost as connections grow"
    peers = ("wsgate", "nginx_lua", "node", "bare")

    def take(self, bench: Bench, peer: Peer) -> Iterator[Case]:
        count = bench.scale.count(_FRAMES)
        with bench.running(peer) as running:
            have = 0
            for wanted in _CROWDS:
                sockets = bench.scale.crowd(wanted)
                bench.generator.open(f"{running.url}/echo", max(0, sockets - have))
                have = max(have, sockets)
                meter = Meter(running)
                answer = bench.generator.frames(count, in_flight=_IN_FLIGHT)
                yield str(wanted), {**numbers(answer), **meter.per(count)}
