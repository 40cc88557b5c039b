"""The price of the hub: one worker without it, and the same worker beside it."""

from collections.abc import Iterator

from benchmarks.measures.base import Bench, Case, Measure, Meter, numbers
from benchmarks.peers import Peer

_SOCKETS = 64
_FRAMES = 12_000
_PUBLICATIONS = 2_000


class Hub(Measure):
    """Frames that publish nothing, frames that PHP publishes, and publications one by one.

    A frame that is published goes to a channel that its sender alone has joined, so it comes back
    and is checked like an answer. Of the publications through the API each waits until the one
    subscriber has the one before.
    """

    name = "hub"
    title = "The price of the hub"
    peers = ("wsgate", "wsgate_hub")

    def take(self, bench: Bench, peer: Peer) -> Iterator[Case]:
        count = bench.scale.count(_FRAMES)
        with bench.running(peer) as running:
            for case, path in (("silent", "/echo"), ("publishing", "/publish/{n}")):
                bench.generator.open(running.url + path, bench.scale.crowd(_SOCKETS))
                meter = Meter(running)
                answer = bench.generator.frames(count)
                yield case, {**numbers(answer), **meter.per(count)}
                bench.generator.close()
            publications = bench.scale.count(_PUBLICATIONS)
            bench.generator.subscribe(f"{running.url}/subscribe/all", 1)
            meter = Meter(running)
            answer = bench.generator.publish(running.publish, publications)
            yield "awaited", {**numbers(answer), **meter.per(publications)}
