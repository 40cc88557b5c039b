"""What is handed out beside the code: files that name commands, paths and versions."""

import contextlib
import re
import shlex
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from packaging.requirements import Requirement

from gateway.cli.main import main
from gateway.config.loading import parse

ROOT = Path(__file__).parents[2]

# No address of a package registry and no path of one machine; .local and example.com are nobody's.
FORBIDDEN = re.compile(
    r"(https?://[^\s\"')>]*(pypi|simple/|registry|artifactory|mirror)|--index-url|"
    r"extra-index-url|find-links|trusted-host|/root/|/home/(?!user\b)\w+/|/Users/\w+/)"
)
TEXT = {".py", ".md", ".toml", ".txt", ".yml", ".yaml", ".conf", ".service", ".html", ".js", ".php"}


def tracked_files() -> list[Path]:
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.split("\0") if name]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def constraints() -> dict[str, str]:
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.partition("==")
            pins[canonical(name)] = version
    return pins


def wsgate_commands(text: str) -> set[str]:
    return set(re.findall(r"(?:^|[\s/\"'`])wsgate[\"']?,?\s+[\"']?([a-z]+)\b", text, re.MULTILINE))


def known_commands() -> set[str]:
    result = CliRunner().invoke(main, ["--help"])
    return set(re.findall(r"^  ([a-z]+)  ", result.output, re.MULTILINE))


def compose() -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return data


def test_every_dependency_is_pinned_exactly() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    block = text[text.index("dependencies = [") : text.index("[project.scripts]")]
    named = {canonical(name) for name in re.findall(r'"([A-Za-z][\w.-]*)(?:\[[\w,]+\])?>=', block)}
    pins = constraints()

    assert named - pins.keys() == set()
    assert all(re.fullmatch(r"\d[\w.]*", version) for version in pins.values())


@pytest.mark.parametrize("python", ["3.11.2", "3.12.3", "3.13.5"])
def test_what_the_dependencies_need_is_pinned_for_every_python(python: str) -> None:
    """Debian 12 has 3.11.2, for which redis takes one package more than for 3.11.3."""
    pins = constraints()
    version = {"python_version": python.rpartition(".")[0], "python_full_version": python}
    needed = set()
    for name in pins:
        with contextlib.suppress(metadata.PackageNotFoundError):
            for text in metadata.requires(name) or ():
                requirement = Requirement(text)
                marker = requirement.marker
                if marker is None or marker.evaluate({**version, "extra": ""}):
                    needed.add(canonical(requirement.name))

    assert needed
    assert needed - pins.keys() == set()


def test_no_file_names_a_registry_or_a_machine() -> None:
    own = Path(__file__)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in tracked_files()
        if path != own and (path.suffix in TEXT or not path.suffix) and path.is_file()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if FORBIDDEN.search(line)
    ]

    assert found == []


@pytest.mark.parametrize("file", ["Dockerfile", "conf/wsgate.service", "README.md", "Makefile"])
def test_every_command_that_is_named_exists(file: str) -> None:
    lines = (ROOT / file).read_text().splitlines()
    calls = "\n".join(
        line
        for line in lines
        if re.match(r"\s*(ExecStart\w*=|CMD|ENTRYPOINT|wsgate [a-z]+ [\w:.-]+|@?exec|\.venv)", line)
        and not line.startswith("wsgate holds")
    )
    named = wsgate_commands(calls)
    if file == "Dockerfile":
        command = re.search(r'^CMD \["(\w+)"', calls, re.MULTILINE)
        assert 'ENTRYPOINT ["wsgate"]' in calls
        assert command
        named = {command[1]}

    assert named
    assert named <= known_commands()


def test_the_makefile_calls_only_scripts_that_are_there_and_executable() -> None:
    text = (ROOT / "Makefile").read_text()
    for script in set(re.findall(r"(?:scripts|\.ci)/\w+", text)) | {".ci/run"}:
        path = ROOT / script
        assert path.is_file(), script
        assert path.stat().st_mode & 0o100, script


def test_ci_calls_the_two_commands_anybody_can_type_and_nothing_else() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    commands = [
        line for line in lines if line and not line.startswith(("#", "set ", "cd ", "exec"))
    ]

    assert commands == ["make lint", "make test"]


@pytest.mark.parametrize("script", ["scripts/setup", "scripts/test", ".ci/run"])
def test_shell_scripts_are_bash_that_parses(script: str) -> None:
    result = subprocess.run(["bash", "-n", ROOT / script], capture_output=True, check=False)

    assert result.returncode == 0, result.stderr


def test_setup_refuses_an_unknown_goal() -> None:
    result = subprocess.run(
        [ROOT / "scripts" / "setup", "everything"], capture_output=True, check=False, text=True
    )

    assert result.returncode == 2
    assert result.stderr == "usage: scripts/setup run|lint|test|bench\n"


def test_every_file_that_compose_mounts_is_there() -> None:
    services = compose()["services"]
    mounts = [
        mount.split(":")[0]
        for service in services.values()
        for mount in service.get("volumes", [])
        if mount.startswith(".")
    ]

    assert {"gateway", "php", "nginx", "worker", "redis", "postgres"} <= services.keys()
    assert mounts
    assert [mount for mount in mounts if not (ROOT / mount).exists()] == []


def test_compose_starts_the_gateway_when_what_it_asks_answers() -> None:
    services = compose()["services"]

    for name in ("redis", "postgres"):
        assert services[name]["healthcheck"]["test"][0] == "CMD"
        assert services["gateway"]["depends_on"][name] == {"condition": "service_healthy"}


def test_compose_serves_every_example() -> None:
    config = parse((ROOT / "conf/compose/wsgate.yaml").read_text(), name="x", folder=ROOT)
    served = {route.name for route in config.routes}

    assert served == {path.name for path in (ROOT / "php-example").iterdir() if path.is_dir()}


def test_compose_gives_a_drain_the_time_it_needs() -> None:
    assert compose()["services"]["gateway"]["stop_grace_period"] == "45s"


def test_compose_publishes_nothing_beyond_this_machine_and_never_the_internal_listener() -> None:
    ports = [port for one in compose()["services"].values() for port in one.get("ports", [])]

    assert ports
    assert all(port.startswith("127.0.0.1:") and not port.endswith(":8081") for port in ports)


def find_compose() -> list[str] | None:
    """The plugin of docker, or the program of its own that it was before."""
    docker = shutil.which("docker")
    command = [docker or "", "compose"]
    if (
        docker
        and not subprocess.run([*command, "version"], capture_output=True, check=False).returncode
    ):
        return command
    alone = shutil.which("docker-compose")
    return [alone] if alone else None


def test_docker_accepts_the_compose_file() -> None:
    command = find_compose()
    if command is None:
        pytest.skip("needs docker compose")
    result = subprocess.run(
        [*command, "-f", "docker-compose.yml", "config", "--quiet"],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
    )

    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "file", sorted((ROOT / "conf").rglob("*.yaml")), ids=lambda path: path.name
)
def test_every_configuration_that_is_handed_out_is_good(file: Path) -> None:
    parse(file.read_text(), name=file.name, folder=file.parent, environ={})


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "wsgate.service"
    unit.write_text((ROOT / "conf" / "wsgate.service").read_text())
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, check=False, text=True
    )

    complaints = [line for line in result.stderr.splitlines() if "wsgate" in line]
    assert complaints == []


def test_the_unit_is_told_when_it_is_ready_and_reloads_by_signal() -> None:
    unit = (ROOT / "conf" / "wsgate.service").read_text()

    assert "Type=notify" in unit
    assert "ExecReload=/bin/kill -HUP $MAINPID" in unit
    start = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    assert start
    assert shlex.split(start[1])[1:] == ["wsgate", "serve", "-c", "/etc/wsgate/wsgate.yaml"]


@pytest.mark.parametrize("file", [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"])
def test_every_link_of_the_documentation_leads_somewhere(file: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", file.read_text()):
        assert (file.parent / target).exists(), f"{file.name}: {target}"
