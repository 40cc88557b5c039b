"""What is measured: wsgate, its yardsticks and its alternatives."""

from typing import Final

from .base import Peer, Running, Site
from .direct import Direct
from .nginx import Nchan, NginxLua, NginxLuaTuned
from .node_gateway import Node
from .python import Bare, Ceiling, Wsgate, WsgateWithHub

ALL: Final[dict[str, Peer]] = {
    peer.name: peer
    for peer in (
        Wsgate(),
        WsgateWithHub(),
        NginxLua(),
        NginxLuaTuned(),
        Node(),
        Bare(),
        Nchan(),
        Direct(),
        Ceiling(),
    )
}

__all__ = ["ALL", "Peer", "Running", "Site"]
