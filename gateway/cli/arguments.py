"""What several commands take from the command line: addresses, headers, durations, files."""

import resource
from urllib.parse import urlsplit

import click

from gateway.config import units


def raise_file_limit(connections: int) -> None:
    """Every connection is a file; the soft limit is often 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + 64
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise click.ClickException(
            f"{connections} connections need {wanted} open files, the limit is {hard} (ulimit -n)"
        )
    if soft != resource.RLIM_INFINITY and wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def url(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """A WebSocket address, whole."""
    try:
        parts = urlsplit(value)
        usable = parts.scheme in {"ws", "wss"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise click.BadParameter(f'expected ws://HOST/PATH or wss://HOST/PATH, got "{value}"')
    return value


def headers(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    """`Name: value` pairs for the handshake."""
    parsed = []
    for value in values:
        name, colon, rest = value.partition(":")
        if not colon or not name.strip() or not rest.isprintable():
            raise click.BadParameter(f'expected "Name: value", got "{value}"')
        parsed.append((name.strip(), rest.strip()))
    return tuple(parsed)


def duration(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> float | None:
    """Seconds, from `250ms`, `30s`, `5m`."""
    try:
        return None if value is None else units.positive_duration(value)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from exc
