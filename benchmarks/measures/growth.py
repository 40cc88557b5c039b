"""Whether memory grows with the frames that open sockets carry."""

from collections.abc import Iterator

from benchmarks.measures.base import Bench, Case, Measure, settled_memory, slope
from benchmarks.peers import Peer

_SOCKETS = 24
_STEPS = 4
_FRAMES = 24_000


class Growth(Measure):
    """24,000 frames on sockets that stay open; the slope of memory over frames."""

    name = "growth"
    title = "Memory growth per frame"
    peers = ("wsgate", "nginx_lua", "nginx_lua_tuned", "node", "bare")

    def take(self, bench: Bench, peer: Peer) -> Iterator[Case]:
        step = bench.scale.count(_FRAMES // _STEPS)
        with bench.running(peer) as running:
            bench.generator.open(f"{running.url}/echo", _SOCKETS)
            bench.generator.frames(step)
            points = [(0.0, settled_memory(running))]
            for number in range(1, _STEPS + 1):
                bench.generator.frames(step)
                points.append((float(number * step), settled_memory(running)))
            yield (
                "open sockets",
                {"bytes_per_frame": slope(points), "grown": points[-1][1] - points[0][1]},
            )
