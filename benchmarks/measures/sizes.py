"""What frames cost as they grow from 100 bytes to 1 MiB."""

from collections.abc import Iterator

from benchmarks.measures.base import Bench, Case, Measure, Meter, numbers
from benchmarks.peers import Peer

_SIZES = ((100, 4000), (1024, 4000), (10_240, 2000), (102_400, 400), (1_048_576, 60))


class Sizes(Measure):
    """Eight sockets; the answer is as large as the frame."""

    name = "sizes"
    title = "Cost as frames grow"
    peers = ("wsgate", "nginx_lua", "nginx_lua_tuned", "node", "bare")

    def take(self, bench: Bench, peer: Peer) -> Iterator[Case]:
        with bench.running(peer) as running:
            for size, frames in _SIZES:
                count = bench.scale.count(frames, least=8)
                bench.generator.open(f"{running.url}/echo", 8)
                meter = Meter(running)
                answer = bench.generator.frames(count, size=size)
                yield str(size), {**numbers(answer), **meter.per(count)}
                bench.generator.close()
