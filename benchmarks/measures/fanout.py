"""One message to many: deliveries per second, what one costs, and how long it takes."""

from collections.abc import Iterator

from benchmarks.measures.base import Bench, Case, Measure, Meter, Values, numbers
from benchmarks.peers import Peer, Running

_AUDIENCES = ((1, 1000), (1000, 600), (8000, 80))


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
                yield str(wanted), _publish(bench, running, wanted, publications)


class FanOutOfWorkers(Measure):
    """The same with one worker and with two, over which the kernel spreads the subscribers."""

    name = "fanout_workers"
    title = "Fan-out of one worker and of two"
    peers = ("wsgate", "nchan")

    def take(self, bench: Bench, peer: Peer) -> Iterator[Case]:
        for workers in (1, 2):
            with bench.running(peer, workers, warm=False) as running:
                for wanted, publications in _AUDIENCES:
                    case = f"{wanted} over {workers}"
                    yield case, _publish(bench, running, wanted, publications)


def _publish(bench: Bench, running: Running, wanted: int, publications: int) -> Values:
    bench.generator.subscribe(f"{running.url}/subscribe/all", bench.scale.crowd(wanted))
    bench.generator.publish(running.publish, 3)
    meter = Meter(running)
    answer = bench.generator.publish(running.publish, bench.scale.count(publications, least=5))
    values = {**numbers(answer), **meter.per(answer["deliveries"])}
    bench.generator.leave()
    return values
