"""php-fpm without a gateway: nothing to start, the generator speaks FastCGI itself."""

from benchmarks.peers.base import Peer, Running, Site, first_line
from benchmarks.php import find_binary


class Direct(Peer):
    """The limit: what the same php-fpm gives when nothing stands before it."""

    name = "direct"
    title = "php-fpm alone"

    def version(self) -> str:
        return first_line(find_binary() or "php-fpm", "-v")

    def start(self, site: Site) -> Running:
        raise RuntimeError(f"nothing to start for {site.folder}: the generator asks php-fpm itself")
