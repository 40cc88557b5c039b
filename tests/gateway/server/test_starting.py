"""What a process loads before it serves: a worker that died is away for as long as this takes."""

import subprocess
import sys


def loaded_with(module: str) -> set[str]:
    """The modules that a fresh interpreter has after importing that one."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


def test_the_supervisor_does_without_what_serves_clients() -> None:
    """What it does not load cannot take the channels down with it."""
    loaded = loaded_with("gateway.server.many")

    assert "gateway.brokers.hub_server" in loaded
    assert not loaded & {"aiohttp", "gateway.sessions", "gateway.backend", "fastcgi.pool"}


def test_a_worker_does_not_wait_for_what_only_some_configurations_need() -> None:
    loaded = loaded_with("gateway.server.child")

    assert "gateway.server.worker" in loaded
    assert not loaded & {"jwt", "cryptography", "redis", "nats", "asyncpg", "aiomcache"}
    assert not loaded & {"gateway.server.supervisor", "gateway.config.loading", "yaml"}
