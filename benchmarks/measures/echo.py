"""Frames per second, times, and CPU per frame, at three loads."""

from collections.abc import Iterator

from benchmarks.measures.base import Bench, Case, Measure, Meter, numbers
from benchmarks.peers import Peer
from benchmarks.php import DOCUMENT_ROOT

_LOADS = ((8, 8_000), (64, 16_000), (500, 25_000))


class Echo(Measure):
    """A fixed number of frames, each socket the next as soon as it has its answer.

    Fixed is the number and not the time: what a peer costs may depend on how many frames its
    sockets have carried, and all peers must carry the same.
    """

    name = "echo"
    title = "Frames through php-fpm"
    peers = ("wsgate", "nginx_lua", "nginx_lua_tuned", "node", "bare", "direct", "ceiling")

    def take(self, bench: Bench, peer: Peer) -> Iterator[Case]:
        if peer.name == "direct":
            yield from _direct(bench)
            return
        with bench.running(peer) as running:
            for sockets, frames in _LOADS:
                count = bench.scale.count(frames)
                bench.generator.open(f"{running.url}/echo", bench.scale.crowd(sockets))
                meter = Meter(running)
                answer = bench.generator.frames(count)
                yield str(sockets), {**numbers(answer), **meter.per(count)}
                bench.generator.close()


def _direct(bench: Bench) -> Iterator[Case]:
    for clients, frames in _LOADS:
        answer = bench.generator.direct(
            socket=str(bench.php.socket),
            root=str(DOCUMENT_ROOT),
            kept=bench.site().kept,
            clients=clients,
            frames=bench.scale.count(frames),
        )
        yield str(clients), numbers(answer)
