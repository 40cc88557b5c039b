"""One message to many: deliveries per second, what one costs, and how long it takes."""

from collections.abc import Iterator

from benchmarks.measures.base import Bench, Case, Measure, Meter, numbers
from benchmarks.peers import Peer

_AUDIENCES = ((1, 1000), (1000, 200), (8000, 40))


class FanOut(Measure):
    """Each message is published as soon as everybody has the one before.

    With one subscriber this is the time from publishing to receiving.
    """

    name = "fanout"
    title = "Fan-out of publications"
    peers = ("wsgate", "nchan")

    def take(self, bench: Bench, peer: Peer) -> Iterator[Case]:
        with bench.running(peer, warm=False) as running:
            for wanted, publications in _AUDIENCES:
                subscribers = bench.scale.crowd(wanted)
                bench.generator.subscribe(f"{running.url}/subscribe/all", subscribers)
                bench.generator.publish(running.publish, 3)
                meter = Meter(running)
                answer = bench.generator.publish(
                    running.publish, bench.scale.count(publications, least=5)
                )
                yield str(wanted), {**numbers(answer), **meter.per(answer["deliveries"])}
                bench.generator.leave()
