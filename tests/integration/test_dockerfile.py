"""What the Dockerfile says, done without Docker: its lines are read from it and really run."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose import Places
from tests.dockerfile import BASE_PATH, ROOT, Build, ignored, instruction, only, stages
from tests.phpfpm import free_port

# pip takes its time where it has to ask an index for everything.
pytestmark = pytest.mark.timeout(300)
STAGES = stages((ROOT / "Dockerfile").read_text())
FINAL = STAGES[-1]
HEALTHCHECK = instruction(only(FINAL, "HEALTHCHECK").rest)
INTERNAL = "127.0.0.1:8081"
# How pip says that it could not even ask; whatever else it complains of is a failure.
NO_INDEX = re.compile(r"NewConnectionError|NameResolutionError|ConnectTimeoutError|ProxyError")
DEADLINE = 30.0


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Build]:
    """The image; what its last stage executes needs an account and is tried by itself below."""
    folder = tmp_path_factory.mktemp("image")
    build = Build(folder)
    try:
        for stage in STAGES[:-1]:
            # The base image's Python is the one that runs the tests.
            build.stage(stage, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
            build.finish(stage)
    except subprocess.CalledProcessError as error:
        said = f"{error.cmd}\n{error.stdout}\n{error.stderr}"
        if NO_INDEX.search(said):
            pytest.skip("pip reaches no package index")
        pytest.fail(said)
    build.stage(FINAL, run=False)
    yield build
    shutil.rmtree(folder)


def run(image: Build, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    """As a container would: with the image's environment alone, and `more`."""
    return subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=DEADLINE,
        cwd=image.workdir,
        env={**image.environment, **more},
    )


def test_the_image_has_the_command_and_every_package_as_pinned(image: Build) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    entry = only(FINAL, "ENTRYPOINT").argv
    told = run(image, *entry, "--version")
    assert (told.returncode, told.stdout) == (0, f"wsgate {version}\n"), told.stderr
    (command, *_) = only(FINAL, "CMD").argv
    assert run(image, *entry, command, "--help").returncode == 0

    pins = set((ROOT / "constraints.txt").read_text().lower().replace("_", "-").splitlines())
    listed = run(image, "pip", "list", "--format=freeze").stdout.lower().replace("_", "-")
    installed = {line for line in listed.splitlines() if not re.match("pip=|setuptools=", line)}
    assert installed - pins == {f"wsgate=={version}"}
    optional = run(image, "python", "-c", "import redis, hiredis, nats, asyncpg, aiomcache")
    assert (optional.returncode, optional.stderr) == (0, "")


def test_the_image_has_every_file_of_the_packages(image: Build) -> None:
    (installed,) = image.root.glob("opt/*/lib/python*/site-packages")
    for package in ("fastcgi", "gateway"):
        for file in (ROOT / package).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                copy = installed / file.relative_to(ROOT)
                assert copy.read_bytes() == file.read_bytes()


def health(image: Build, port: int) -> int:
    """The exit code of HEALTHCHECK, which is not to be led astray by a proxy of the host's."""
    *command, code = HEALTHCHECK.argv
    assert code.count(INTERNAL) == 1
    code = code.replace(INTERNAL, f"127.0.0.1:{port}")
    return run(image, *command, code, http_proxy=f"http://127.0.0.1:{free_port()}").returncode


def test_the_container_serves_is_healthy_and_stops_when_told(image: Build, tmp_path: Path) -> None:
    """With what compose mounts, and nothing there that it asks: it starts all the same."""
    places, log = Places(tmp_path), tmp_path / "log"
    arguments = only(FINAL, "CMD").argv
    file = Path(image.here(arguments[-1]))
    file.parent.mkdir(parents=True)
    file.write_text(places.configuration(arguments[-1]))
    command = [*only(FINAL, "ENTRYPOINT").argv, *map(image.here, arguments)]

    assert health(image, places.internal) != 0
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=image.environment,
            cwd=image.workdir,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + DEADLINE
        while health(image, places.internal) != 0:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
        with socket.create_connection(("127.0.0.1", places.public), DEADLINE):
            pass
        process.send_signal(signal.Signals[only(FINAL, "STOPSIGNAL").rest])
        assert process.wait(DEADLINE) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert health(image, places.internal) != 0


def test_the_port_that_the_image_shows_is_the_one_that_compose_listens_on() -> None:
    config = (ROOT / "conf/compose/wsgate.yaml").read_text()

    assert f"\nlisten: 0.0.0.0:{only(FINAL, 'EXPOSE').rest}\n" in config


def test_docker_waits_for_an_answer_longer_than_the_healthcheck_does() -> None:
    """Else Docker kills it, and nobody reads why the gateway did not answer."""
    timeout = re.search(r"timeout=(\d+)", HEALTHCHECK.argv[-1])
    assert timeout
    assert int(timeout[1]) < int(only(FINAL, "HEALTHCHECK").options["timeout"].removesuffix("s"))


class Cell:
    """A root of its own with a few programs of this machine and no account but root's.

    What they do there touches nothing of the machine. Only root may make one.
    """

    def __init__(self, folder: Path, programs: set[str]) -> None:
        self.root = folder
        for name in programs:
            program = shutil.which(name, path=BASE_PATH)
            if program is None:
                pytest.skip(f"needs {name}")
            libraries = subprocess.run(["ldd", program], capture_output=True, check=True, text=True)
            for file in (program, *re.findall(r"/\S+", libraries.stdout)):
                place = folder / file.lstrip("/")
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, place)
        for name in ("etc", "run", "tmp"):
            (folder / name).mkdir(exist_ok=True)
        (folder / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (folder / "etc/group").write_text("root:x:0:\n")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """What a program said and how it ended, in here."""
        return subprocess.run(
            ["chroot", self.root, *command],
            check=False,
            capture_output=True,
            text=True,
            env={"PATH": BASE_PATH},
        )


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for chroot")
def test_the_account_that_the_container_runs_as_is_made_and_owns_its_folder(
    tmp_path: Path,
) -> None:
    lines = [one for one in FINAL if one.name == "RUN"]
    programs = {program for line in lines for program in line.programs}
    cell = Cell(tmp_path, {*programs, "sh", "stat", "true"})
    if "cannot change root" in (refused := cell.run("true").stderr):
        pytest.skip(refused)
    for line in lines:
        done = cell.run(*line.argv)
        assert done.returncode == 0, done.stderr

    user = only(FINAL, "USER").rest
    accounts = (tmp_path / "etc/passwd").read_text().splitlines()
    (account,) = (line for line in accounts if line.startswith(f"{user}:"))
    _, _, number, *_, home, shell = account.split(":")
    assert int(number) < 1000
    assert (home, shell) == ("/nonexistent", "/usr/sbin/nologin")
    assert cell.run("stat", "-c", "%U:%G", "/run/wsgate").stdout == f"{user}:{user}\n"


def test_a_dockerfile_is_read_as_docker_reads_it() -> None:
    text = """
# a comment
FROM base AS one
RUN A=1 B=2 first --option \\
# a comment between
 && /opt/second "x"
FROM other
HEALTHCHECK --interval=10s --timeout=3s CMD ["a", "b c"]
"""
    ((first, run), (_, health)) = stages(text)

    assert (first.name, first.rest) == ("FROM", "base AS one")
    assert run.argv == ["sh", "-c", 'A=1 B=2 first --option  && /opt/second "x"']
    assert run.programs == ["first", "/opt/second"]
    assert health.options == {"interval": "10s", "timeout": "3s"}
    assert instruction(health.rest).argv == ["a", "b c"]


@pytest.mark.parametrize(
    ("path", "stays_behind"),
    [
        (".git", True),
        (".git/config", True),
        ("gateway/cli/__pycache__/x.pyc", True),
        ("__pycache__", True),
        (".mypy_cache/x", True),
        ("wsgate.egg-info", True),
        ("gateway/tests", False),
        ("gateway/cli/main.py", False),
        ("README.md", False),
    ],
)
def test_dockerignore_is_read_as_docker_reads_it(path: str, stays_behind: bool) -> None:
    patterns = [".git", ".*_cache", "**/__pycache__", "*.egg-info", "tests", "README.*", "!*.md"]

    assert ignored(path, patterns) is stays_behind
