"""nginx, once with a Lua handler (plain and tuned), once with Nchan."""

import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path
from typing import ClassVar

from benchmarks import install
from benchmarks.peers.base import PEERS, Peer, Running, Site, choose_port, first_line, render
from benchmarks.processes import Server


class Nginx(Peer):
    """One nginx from the distribution with its own configuration, nothing of /etc/nginx running."""

    modules: ClassVar[tuple[str, ...]] = ()

    def missing(self, *, may_install: bool) -> str | None:
        return install.packages(self.packages, may_install=may_install)

    def version(self) -> str:
        return ", ".join(
            filter(None, [first_line("nginx", "-v"), *(_package_version(p) for p in self.packages)])
        )

    def start(self, site: Site) -> Running:
        port, values = choose_port(site)
        values["modules"] = _modules_folder()
        values["handler"] = str(PEERS / "nginx_lua" / "handler.lua")
        user = pwd.getpwuid(os.geteuid()).pw_name
        values["user"] = f"user {user};" if os.geteuid() == 0 else ""
        configuration = render(
            PEERS / self.name / "nginx.conf", site.folder / f"{self.name}.conf", values
        )
        server = Server(
            [shutil.which("nginx") or "nginx", "-c", str(configuration), "-e", "stderr"],
            site.folder / f"{self.name}.log",
        )
        server.wait_for_port(port)
        return Running(server, f"ws://127.0.0.1:{port}", f"http://127.0.0.1:{port}/publish/all")


class NginxLua(Nginx):
    """The handler loop that captures a subrequest, as people write it."""

    name = "nginx_lua"
    title = "nginx + Lua"
    packages = ("nginx", "libnginx-mod-http-lua", "lua-nginx-websocket")


class NginxLuaTuned(NginxLua):
    """The same with kept FastCGI connections."""

    name = "nginx_lua_tuned"
    title = "nginx + Lua, tuned"


class Nchan(Nginx):
    """Fan-out only: Nchan knows no FastCGI per frame."""

    name = "nchan"
    title = "Nchan"
    packages = ("nginx", "libnginx-mod-nchan")


def _modules_folder() -> str:
    told = subprocess.run(
        [shutil.which("nginx") or "nginx", "-V"], capture_output=True, text=True, check=True
    )
    found = re.search(r"--modules-path=(\S+)", told.stderr)
    return found.group(1) if found else "/usr/lib/nginx/modules"


def _package_version(package: str) -> str:
    version = first_line("dpkg-query", "-W", "-f", "${Package} ${Version}", package)
    return version if Path("/var/lib/dpkg").exists() else ""
