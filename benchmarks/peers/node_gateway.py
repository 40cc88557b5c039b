"""The minimal Node gateway."""

import json
import shutil

from benchmarks import install
from benchmarks.peers.base import PEERS, Peer, Running, Site, choose_port, first_line
from benchmarks.processes import Server

_FOLDER = PEERS / "node"


class Node(Peer):
    """npm's `ws` and a small FastCGI client, the leanest a person would write."""

    name = "node"
    title = "minimal Node gateway"

    def missing(self, *, may_install: bool) -> str | None:
        if shutil.which("node") is None:
            explanation = install.packages(("nodejs", "npm"), may_install=may_install)
            if explanation:
                return explanation
        return install.node_modules(_FOLDER, may_install=may_install)

    def version(self) -> str:
        package = json.loads((_FOLDER / "node_modules" / "ws" / "package.json").read_text())
        return f"ws {package['version']}, Node {first_line('node', '--version').lstrip('v')}"

    def start(self, site: Site) -> Running:
        port, values = choose_port(site)
        server = Server(
            [
                shutil.which("node") or "node",
                str(_FOLDER / "gateway.js"),
                *(values[name] for name in ("port", "socket", "root", "kept")),
            ],
            site.folder / "node.log",
        )
        server.wait_for_port(port)
        return Running(server, f"ws://127.0.0.1:{port}")
