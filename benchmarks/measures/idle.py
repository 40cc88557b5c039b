"""How many php-fpm children a gateway keeps from others while its sockets are silent."""

import time
from collections.abc import Iterator

from benchmarks.measures.base import Bench, Case, Measure
from benchmarks.peers import Peer


class IdleChildren(Measure):
    """Load, then two seconds of silence on open sockets, then a count of occupied children."""

    name = "idle_children"
    title = "php-fpm children held at idle"
    peers = ("wsgate", "nginx_lua", "nginx_lua_tuned", "node", "bare")

    def take(self, bench: Bench, peer: Peer) -> Iterator[Case]:
        with bench.running(peer) as running:
            bench.generator.open(f"{running.url}/echo", 64)
            bench.generator.frames(bench.scale.count(2000))
            time.sleep(2.0)
            yield "after 2 s", {"held": float(bench.php.held)}
