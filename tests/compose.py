"""The services of docker-compose.yml without Docker, as servers of a test's own.

Commands, health checks, environments and mounted files are those of the file; only the addresses
differ, and the paths, which are where the volumes have their sources. Instead of the images the
programs of this machine are taken.
"""

import contextlib
import grp
import http.client
import os
import pwd
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, Self

import yaml

from tests.dockerfile import ROOT, only, stages
from tests.phpfpm import find_php_fpm, free_port
from tests.postgresserver import PostgresServer, find_postgres
from tests.redisserver import RedisServer
from tests.server import Server

_TEXT: Final = (ROOT / "docker-compose.yml").read_text()
SERVICES: Final[dict[str, Any]] = yaml.safe_load(_TEXT)["services"]
NGINX: Final = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")
# What the image php:fpm says of the pool before it reads ours, in this order.
_POOL_OF_THE_IMAGE: Final = """\
listen = 127.0.0.1:9000
pm = dynamic
pm.max_children = 5
pm.start_servers = 2
pm.min_spare_servers = 1
pm.max_spare_servers = 3
"""


def shown(service: str) -> list[str]:
    """The command for a service that the comment at the head of the file shows."""
    (line,) = re.findall(rf"^# +docker compose exec {service} (.*)$", _TEXT, re.MULTILINE)
    return shlex.split(line)


def healthcheck(service: str) -> list[str]:
    """The program and its arguments."""
    kind, *words = SERVICES[service]["healthcheck"]["test"]
    assert kind == "CMD"
    return [str(word) for word in words]


class Places:
    """Where on this machine the containers' paths and addresses are."""

    def __init__(self, folder: Path) -> None:
        self.redis, self.postgres, self.nginx = free_port(), free_port(), free_port()
        self.public, self.internal = free_port(), free_port()
        self._paths: dict[str, Path] = {}
        for service in SERVICES.values():
            for mount in service.get("volumes", []):
                source, target = mount.split(":")[:2]
                self._paths[target] = ROOT / source if source[0] == "." else folder / source
                if source[0] != ".":
                    self._paths[target].mkdir(exist_ok=True)
        self._addresses = {
            "redis:6379": f"127.0.0.1:{self.redis}",
            "@postgres/": f"@127.0.0.1:{self.postgres}/",
            "php:8080": f"127.0.0.1:{self.public}",
            "0.0.0.0:8080": f"127.0.0.1:{self.public}",
            "listen 80;": f"listen 127.0.0.1:{self.nginx};",
        }

    def here(self, text: str) -> str:
        """The text with what is on this machine instead."""
        for old, new in [*self._paths.items(), *self._addresses.items()]:
            text = text.replace(old, str(new))
        return text

    def mount(self, source: str, folder: Path) -> None:
        """Write a file for this machine into the folder, under the name that it has mounted."""
        (target,) = (target for target, path in self._paths.items() if path == ROOT / source)
        (folder / Path(target).name).write_text(self.here((ROOT / source).read_text()))

    def configuration(self, target: str) -> str:
        """The gateway's file that compose mounts there, with the internal listener of a test."""
        internal = f"internal: {{listen: '127.0.0.1:{self.internal}'}}\n"
        return self.here(self._paths[target].read_text()) + internal

    def command(self, service: str) -> list[str]:
        """What a service executes, in its environment."""
        environment = SERVICES[service].get("environment", {})
        variables = [f"{name}={self.here(value)}" for name, value in environment.items()]
        return ["env", *variables, *map(self.here, SERVICES[service].get("command", []))]

    def execute(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """What `docker compose exec` would; on this machine programs must be told where to ask."""
        program, *words = map(self.here, command)
        if program == "redis-cli":
            words = ["-p", str(self.redis), *words]
        postgres = {"PGHOST": "127.0.0.1", "PGPORT": str(self.postgres)}
        programs = f"{find_postgres()}:{os.environ['PATH']}"
        api = {"WSGATE_API": f"http://127.0.0.1:{self.internal}"}
        return subprocess.run(
            [program, *words],
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=30,
            env={**os.environ, **postgres, **api, "PATH": programs},
        )


class ComposeServer(Server):
    """What the servers below have in common."""

    def __init__(self, places: Places) -> None:
        super().__init__()
        self.places = places

    def stop(self) -> None:
        """SIGTERM, as Docker does it; a server's children go with it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None


class Redis(RedisServer):
    """With the options of compose."""

    def __init__(self, places: Places) -> None:
        super().__init__(port=places.redis)
        self._words = places.command("redis")

    def _command(self) -> list[str]:
        return [*self._words, "--port", str(self.port), "--bind", "127.0.0.1"]


class Postgres(PostgresServer):
    """With the user and the database that the image makes for compose."""

    def __init__(self, places: Places) -> None:
        super().__init__(
            user=SERVICES["postgres"]["environment"]["POSTGRES_USER"], port=places.postgres
        )
        self._places = places

    def start(self) -> Self:
        """Start it; the database has the user's name."""
        super().start()
        done = self._places.execute(["createdb", "--username", self.user, self.user])
        assert done.returncode == 0, done.stderr
        return self


class Php(ComposeServer):
    """php-fpm as the image runs it, with the pool file of compose read last."""

    name = "php"

    def _command(self) -> list[str]:
        pools = self.folder / "php-fpm.d"
        pools.mkdir(exist_ok=True)
        account = ""
        if os.geteuid() == 0:
            # The children must be able to read the examples wherever they are.
            account = f"user = {pwd.getpwuid(0).pw_name}\ngroup = {grp.getgrgid(0).gr_name}\n"
        (pools / "www.conf").write_text(f"[www]\n{account}{_POOL_OF_THE_IMAGE}")
        (pools / "zz-docker.conf").write_text("[global]\ndaemonize = no\n[www]\nlisten = 9000\n")
        self.places.mount("conf/compose/php-fpm.conf", pools)
        main = self.folder / "php-fpm.conf"
        main.write_text(f"[global]\nerror_log = {self.folder}/errors\ninclude = {pools}/*.conf\n")
        binary = find_php_fpm()
        assert binary is not None
        root = ["-R"] if os.geteuid() == 0 else []
        return [*self.places.command("php"), binary, "--fpm-config", str(main), "-n", *root]

    def complaints(self) -> str:
        """What `php-fpm -t` finds wrong."""
        done = subprocess.run([*self._command(), "-t"], check=False, capture_output=True, text=True)
        said = done.stderr + (self.folder / "errors").read_text()
        wrong = [line for line in said.splitlines() if re.search("WARNING|ERROR|ALERT", line)]
        return "\n".join(wrong) or ("" if done.returncode == 0 else said)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.places.here("/run/php/php-fpm.sock")) == 0


class Worker(ComposeServer):
    """The queue's worker; it has started when Redis knows that it waits for a job."""

    name = "worker"

    def __init__(self, places: Places, redis: Redis) -> None:
        super().__init__(places)
        self._redis = redis

    def _command(self) -> list[str]:
        return self.places.command("worker")

    def _answers(self) -> bool:
        return b"cmd=blpop" in self._redis.command("CLIENT", "LIST")


class Gateway(ComposeServer):
    """This source tree with the arguments of the Dockerfile and the configuration of compose."""

    name = "gateway"

    def _command(self) -> list[str]:
        *words, target = only(stages((ROOT / "Dockerfile").read_text())[-1], "CMD").argv
        file = self.folder / "wsgate.yaml"
        file.write_text(self.places.configuration(target))
        return [sys.executable, "-m", "gateway.cli.main", *words, str(file)]

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.places.internal, timeout=5)
        with contextlib.closing(connection), contextlib.suppress(OSError):
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == 200
        return False


class Nginx(ComposeServer):
    """nginx with the image's few lines around the file of compose."""

    name = "nginx"

    def _command(self) -> list[str]:
        blocks = self.folder / "conf.d"
        blocks.mkdir(exist_ok=True)
        self.places.mount("conf/compose/nginx.conf", blocks)
        shutil.copy("/etc/nginx/fastcgi_params", self.folder)
        temporary = "\n".join(
            f"{name}_temp_path {self.folder}/{name};"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        file = self.folder / "nginx.conf"
        file.write_text(
            f"daemon off;\nmaster_process off;\npid {self.folder}/pid;\nerror_log stderr;\n"
            f"events {{}}\nhttp {{\naccess_log off;\n{temporary}\ninclude conf.d/*.conf;\n}}\n"
        )
        return [str(NGINX), "-p", str(self.folder), "-c", str(file), "-e", "stderr"]

    def complaints(self) -> str:
        """What `nginx -t` finds wrong."""
        done = subprocess.run([*self._command(), "-t"], check=False, capture_output=True, text=True)
        return "\n".join(line for line in done.stderr.splitlines() if "[" in line)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.places.nginx)) == 0
