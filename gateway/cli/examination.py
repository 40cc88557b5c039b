"""What the doctor looks at, and what it says: one finding a line."""

import asyncio
import grp
import importlib
import pwd
import socket
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from fastcgi import AddressForbiddenError, FastCGIError
from gateway.backend.diagnosis import explain_failure
from gateway.config.model import Config
from gateway.config.routes import Route
from gateway.config.services import Database, PostgresSource
from gateway.config.upstreams import Upstream
from gateway.errors import ConfigurationError, GatewayError

from .databases import examine_databases, open_database
from .finding import AWAY, UNUSABLE, Finding
from .fpmprobe import Seen, look, status
from .poolfiles import PoolFile

_PATIENCE: Final = 5.0


async def examine(config: Config, pools: Sequence[PoolFile]) -> AsyncIterator[Finding]:
    """Everything that can be asked without doing anything."""
    for name, upstream in config.upstreams.items():
        async for finding in _upstream(config, name, upstream, pools):
            yield finding
    async for finding in _services(config):
        yield finding


async def _upstream(
    config: Config, name: str, upstream: Upstream, pools: Sequence[PoolFile]
) -> AsyncIterator[Finding]:
    place = f"upstreams.{name}"
    scripts = sorted({upstream.document_root.rstrip("/") + one for one in _scripts(config, name)})
    for listen in upstream.address:
        address = str(listen)
        pool = next((pool for pool in pools if pool.listens_at(address)), None)
        try:
            seen = await look(address, scripts)
        except FastCGIError as exc:
            cure = explain_failure(exc) or "see the log of php-fpm"
            if isinstance(exc, AddressForbiddenError):
                cure = f"{_owner(address)}{cure}"
            yield Finding(f"{place}.address", f"{address}: {exc}", cure)
            continue
        yield Finding(f"{place}.address", f"{address} answers{_of(seen)}")
        for finding in _of_scripts(place, seen, scripts):
            yield finding
        for finding in _of_sessions(config, name, seen):
            yield finding
        async for finding in _of_size(place, upstream, address, pool):
            yield finding


def _of(seen: Seen) -> str:
    return f", PHP {seen.version}" if seen.version else ""


def _scripts(config: Config, upstream: str) -> Iterator[str]:
    for route in config.routes:
        if route.upstream == upstream:
            rules = route.messages.rules.values() if route.messages else ()
            yield from (script for script in (route.script, *(r.script for r in rules)) if script)
    for channel in config.channels:
        if channel.authorize is not None and channel.authorize.upstream == upstream:
            yield channel.authorize.script


def _of_scripts(place: str, seen: Seen, scripts: Sequence[str]) -> Iterator[Finding]:
    key = f"{place}.document_root"
    if seen.scripts is None:
        yield Finding(
            key,
            seen.reason,
            "whether it sees the scripts was judged by the files of this machine",
            serious=False,
        )
    for script in scripts:
        found = (
            seen.scripts.get(script, "missing")
            if seen.scripts is not None
            else "fine"
            if Path(script).is_file()
            else "missing"
        )
        if found == "fine":
            yield Finding(key, f"{script} is there and PHP can read it")
        elif found == "missing":
            yield Finding(
                key,
                f"PHP finds no file {script}",
                "correct document_root or script, as php-fpm sees them (chroot, container)",
            )
        elif found == "unreadable":
            yield Finding(
                key, f"PHP may not read {script}", "give the user of the pool the right to read it"
            )
        else:
            yield Finding(key, f"{script} has a syntax error", found)


def _of_sessions(config: Config, upstream: str, seen: Seen) -> Iterator[Finding]:
    """PHP's own handler locks a session for a whole request: two tabs then hold two children."""
    routes = [route for route in config.routes if route.upstream == upstream and route.script]
    for route in routes:
        place = f"routes.{route.name}"
        if seen.handler in ("files", "redis", "memcached") and not _lined_up(route):
            yield Finding(
                f"{place}.serialize_by",
                f"session.save_handler is {seen.handler}",
                "if the script calls session_start(), set serialize_by: cookie:PHPSESSID or call "
                "session_write_close() early, so that no php-fpm child waits for a lock",
                serious=False,
            )
        if route.stream and seen.output_buffering:
            yield Finding(
                f"{place}.stream",
                f"output_buffering is {seen.output_buffering} in PHP",
                "set it to 0, or call ob_flush() before flush(): lines wait in it",
                serious=False,
            )


def _lined_up(route: Route) -> bool:
    return route.serialize_by is not None


async def _of_size(
    place: str, upstream: Upstream, address: str, pool: PoolFile | None
) -> AsyncIterator[Finding]:
    key = f"{place}.max_connections"
    ours = upstream.max_connections
    if pool is None or pool.max_children is None:
        yield Finding(
            key,
            f"the pool file of {address} was not found",
            f"name it with --pool-file; pm.max_children must be more than {ours}",
            serious=False,
        )
        return
    children = pool.max_children
    if ours >= children:
        yield Finding(
            key,
            f"{ours}, but pm.max_children is {children} in {pool.file}",
            f"set max_connections to {max(children - 1, 1)} or less, or pm.max_children to "
            f"{ours + 1} or more: whoever else uses the pool must find a child",
        )
    else:
        yield Finding(key, f"{ours} of the {children} children of the pool")
    page = pool.settings.get("pm.status_path")
    numbers = await status(address, page) if page else None
    reached = (numbers or {}).get("max children reached", 0)
    if reached:
        yield Finding(
            key,
            f"the pool has had all its children busy {reached} times since it started",
            f"raise pm.max_children in {pool.file} if there is memory for more",
            serious=False,
        )


def _owner(address: str) -> str:
    """Whom the socket belongs to, as `ls` shows it."""
    try:
        found = Path(address.removeprefix("unix:")).stat()
    except OSError:
        return ""
    try:
        who = f"{pwd.getpwuid(found.st_uid).pw_name}:{grp.getgrgid(found.st_gid).gr_name}"
    except KeyError:
        who = f"{found.st_uid}:{found.st_gid}"
    return f"it is {stat.filemode(found.st_mode)} {who}; "


async def _services(config: Config) -> AsyncIterator[Finding]:
    broker = config.broker
    if broker.type == "redis":
        yield await _try("broker.url", _ask_redis(broker.url))
    elif broker.type == "nats":
        yield await _try("broker.url", _connect(broker.url, 4222))
    for index, source in enumerate(config.sources):
        place = f"sources[{index}]"
        if isinstance(source, PostgresSource):
            yield await _try(f"{place}.dsn", _ask_postgres(config.databases[source.dsn]))
        else:
            yield await _try(f"{place}.url", _ask_redis(source.url))
    async for finding in examine_databases(config, _PATIENCE):
        yield finding
    if config.stores.memcached is not None:
        yield await _try("stores.memcached", _connect(f"tcp://{config.stores.memcached}", 11211))
    if config.stores.redis:
        yield await _try("stores.redis", _ask_redis(config.stores.redis))


async def _try(place: str, question: Any) -> Finding:
    try:
        async with asyncio.timeout(_PATIENCE):
            await question
    except ConfigurationError as exc:
        return Finding(place, str(exc), UNUSABLE)
    except (GatewayError, OSError, TimeoutError) as exc:
        return Finding(place, str(exc) or "no answer", AWAY)
    return Finding(place, "answers")


async def _ask_redis(url: str) -> None:
    module: Any = importlib.import_module("gateway.remote.redis")
    link = await module.open_server(url).link()
    try:
        (answer,) = await link.run([("PING",)])
        if isinstance(answer, Exception):
            raise answer
    finally:
        await link.close()


async def _ask_postgres(settings: Database) -> None:
    """Ask by the address at which publications are listened to."""
    database = open_database(settings, settings.listen_dsn or settings.dsn, _PATIENCE)
    try:
        await database.ask()
    finally:
        await database.close()


async def _connect(url: str, port: int) -> None:
    parts = urlsplit(url.partition(",")[0] if "://" in url else f"tcp://{url}")
    loop = asyncio.get_running_loop()
    where = await loop.getaddrinfo(
        parts.hostname or "127.0.0.1", parts.port or port, type=socket.SOCK_STREAM
    )
    with socket.socket(where[0][0], socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        await loop.sock_connect(probe, where[0][4])
