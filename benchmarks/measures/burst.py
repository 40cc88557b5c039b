"""Five thousand sockets that speak in the same instant, and four php-fpm children to answer."""

from collections.abc import Iterator

from benchmarks.measures.base import Bench, Case, Measure, Meter, numbers
from benchmarks.peers import Peer

_SOCKETS = 5000


class Burst(Measure):
    """One frame a socket, all at once, to a script that takes 2 ms."""

    name = "burst"
    title = "5,000 frames in the same instant"
    peers = ("wsgate", "nginx_lua", "nginx_lua_tuned", "node", "bare")
    children = 4

    def take(self, bench: Bench, peer: Peer) -> Iterator[Case]:
        sockets = bench.scale.crowd(_SOCKETS)
        with bench.running(peer) as running:
            bench.generator.open(f"{running.url}/slow", sockets)
            meter = Meter(running)
            answer = bench.generator.frames(sockets)
            values = {**numbers(answer), **meter.per(sockets)}
            yield "burst", {**values, "share": values["answered"] / sockets}
