"""One worker process and two."""

from collections.abc import Iterator

from benchmarks.measures.base import Bench, Case, Measure, Meter, numbers
from benchmarks.peers import Peer

_SOCKETS = 64
_FRAMES = 12_000


class Workers(Measure):
    """The same load on one worker and on two; php-fpm and the generator share the cores."""

    name = "workers"
    title = "One worker and two"
    peers = ("wsgate", "nginx_lua")

    def take(self, bench: Bench, peer: Peer) -> Iterator[Case]:
        count = bench.scale.count(_FRAMES)
        for workers in (1, 2):
            with bench.running(peer, workers) as running:
                bench.generator.open(f"{running.url}/echo", bench.scale.crowd(_SOCKETS))
                meter = Meter(running)
                answer = bench.generator.frames(count)
                yield str(workers), {**numbers(answer), **meter.per(count)}
