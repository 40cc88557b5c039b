"""The peers written in Python: wsgate itself, a bare aiohttp loop, and the generator's ceiling."""

import sys
from importlib.metadata import version as installed
from pathlib import Path

from benchmarks.peers.base import PEERS, Peer, Running, Site, choose_port, render
from benchmarks.processes import Server, free_port


class Wsgate(Peer):
    """The complete gateway, as `wsgate serve` runs it."""

    name = "wsgate"
    title = "wsgate"

    def version(self) -> str:
        return f"wsgate {installed('wsgate')}, {_python()}"

    def start(self, site: Site) -> Running:
        port, values = choose_port(site)
        internal = free_port()
        values["internal"] = str(internal)
        configuration = render(
            PEERS / "wsgate" / "wsgate.yaml", site.folder / "wsgate.yaml", values
        )
        server = Server(self.command(configuration), site.folder / "wsgate.log")
        server.wait_for_port(internal)
        server.wait_for_port(port)
        return Running(
            server,
            f"ws://127.0.0.1:{port}",
            f"http://127.0.0.1:{internal}/channels/fan.all",
        )

    def command(self, configuration: Path) -> list[str]:
        """How it is started."""
        return [sys.executable, "-m", "gateway.cli.main", "serve", "-c", str(configuration)]


class WsgateWithHub(Wsgate):
    """The same under a supervisor that holds the hub, also where there is only one worker."""

    name = "wsgate_hub"
    title = "wsgate with the hub"

    def command(self, configuration: Path) -> list[str]:
        return [sys.executable, "-m", "benchmarks.peers.wsgate.supervised", str(configuration)]


class Bare(Peer):
    """aiohttp's WebSocket loop, uvloop and the least FastCGI client."""

    name = "bare"
    title = "bare aiohttp"

    def version(self) -> str:
        return f"aiohttp {installed('aiohttp')}, uvloop {installed('uvloop')}, {_python()}"

    def start(self, site: Site) -> Running:
        port, values = choose_port(site)
        server = Server(
            [
                sys.executable,
                "-m",
                "benchmarks.peers.bare.gateway",
                *(values[name] for name in ("port", "socket", "root", "kept")),
            ],
            site.folder / "bare.log",
        )
        server.wait_for_port(port)
        return Running(server, f"ws://127.0.0.1:{port}")


class Ceiling(Peer):
    """What the load generator can do: an echo server that costs next to nothing, without PHP."""

    name = "ceiling"
    title = "generator's ceiling"

    def version(self) -> str:
        return f"picows {installed('picows')}, {_python()}"

    def start(self, site: Site) -> Running:
        port, _ = choose_port(site)
        server = Server(
            [sys.executable, "-m", "benchmarks.peers.ceiling.echo", str(port)],
            site.folder / "ceiling.log",
        )
        server.wait_for_port(port)
        return Running(server, f"ws://127.0.0.1:{port}")


def _python() -> str:
    return "Python " + ".".join(map(str, sys.version_info[:3]))
