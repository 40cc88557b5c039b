"""What a frame costs on a young socket, and on one that has carried a thousand."""

from collections.abc import Iterator

from benchmarks.measures.base import Bench, Case, Measure, Meter, numbers
from benchmarks.peers import Peer

_SOCKETS = 64
_AGES = ((0, 50), (50, 200), (200, 400), (400, 1000), (1000, 1050))


class Aging(Measure):
    """The case is the age in frames at which a stretch begins."""

    name = "aging"
    title = "CPU per frame as a socket ages"
    peers = ("wsgate", "nginx_lua", "nginx_lua_tuned", "node", "bare")

    def take(self, bench: Bench, peer: Peer) -> Iterator[Case]:
        # The age is the subject: less work is fewer sockets, never fewer frames on each.
        sockets = bench.scale.count(_SOCKETS, least=4)
        with bench.running(peer) as running:
            bench.generator.open(f"{running.url}/echo", sockets)
            for begin, end in _AGES:
                count = (end - begin) * sockets
                meter = Meter(running)
                answer = bench.generator.frames(count)
                yield str(begin), {**numbers(answer), **meter.per(count)}
