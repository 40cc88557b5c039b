"""Mistakes that only show when two parts of the file, or the file and this machine, meet.

The checks read the plain data, not the models, so that they also speak when something else in
the file is wrong; what a model will complain of anyway is passed over here.
"""

import difflib
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any, Final

from . import units
from .abilities import find_unable
from .problems import Path, place
from .templates import Variable, default_name, parse_channel, parse_path
from .units import shown

Found = Iterator[tuple[Path, str]]

# What is counted or decided before a route is known, or for all routes together.
_WHOLE_GATEWAY: Final = (
    "handshake_timeout",
    "max_connections",
    "max_connections_per_ip",
    "disconnect_rate",
)


def check(data: dict[str, Any], folder: FilePath) -> Found:
    """The path and the message of every mistake, in no particular order."""
    upstreams, databases = _names(data, "upstreams"), _names(data, "databases")
    yield from _check_internal(data)
    yield from _check_files(data, folder)
    yield from _check_route_names(data)
    for path, route in _items(data, "routes"):
        yield from _refers(route, path, "upstream", upstreams)
        yield from _check_subscribe(route, path)
        yield from _check_client(route, path)
        yield from _check_rules(route, path, databases)
        yield from _check_stores(route, path, data)
    for path, channel in _items(data, "channels"):
        authorize = channel.get("authorize")
        if isinstance(authorize, dict):
            yield from _refers(authorize, (*path, "authorize"), "upstream", upstreams)
        for key in ("on_subscribe", "on_unsubscribe"):
            event = channel.get(key)
            query = event.get("postgres") if isinstance(event, dict) else None
            if isinstance(query, dict):
                yield from _refers(query, (*path, key, "postgres"), "dsn", databases, "database")
    yield from find_unable(data)
    for path, source in _items(data, "sources"):
        yield from _refers(source, path, "dsn", databases, "database")


def _names(data: dict[str, Any], key: str) -> list[str]:
    section = data.get(key)
    return list(section) if isinstance(section, dict) else []


def _items(data: dict[str, Any], key: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    section = data.get(key)
    for index, item in enumerate(section if isinstance(section, list) else []):
        if isinstance(item, dict):
            yield (key, index), item


def _refers(
    section: dict[str, Any], path: Path, key: str, names: list[str], noun: str = "upstream"
) -> Found:
    name = section.get(key)
    if not isinstance(name, str) or not name or name in names:
        return
    near = difflib.get_close_matches(name, names, n=1)
    known = ", ".join(names[:8]) or "none"
    hint = f"did you mean {near[0]}?" if near else f"known: {known}"
    # An address in place of a name may hold a password.
    yield (*path, key), f"unknown {noun} {shown(name)}; {hint}"


def _check_internal(data: dict[str, Any]) -> Found:
    internal = data.get("internal")
    if not isinstance(internal, dict) or internal.get("listen") is None:
        return
    try:
        address = units.listen(internal["listen"])
    except ValueError:
        return
    if not address.is_private and not internal.get("api_key"):
        yield (
            ("internal", "api_key"),
            f"must be set, because {address} can be reached from other machines",
        )
    public = data.get("listen")
    if internal["listen"] in (public if isinstance(public, list) else [public]):
        yield ("internal", "listen"), "the same address as listen; it must be one of its own"


def _check_files(data: dict[str, Any], folder: FilePath) -> Found:
    tls = data.get("tls")
    if isinstance(tls, dict):
        for key in ("certificate", "key"):
            yield from _readable(tls.get(key), ("tls", key), folder)
    for path, route in _items(data, "routes"):
        auth = route.get("auth")
        jwt = auth.get("jwt") if isinstance(auth, dict) else None
        if isinstance(jwt, dict):
            yield from _readable(
                jwt.get("public_key"), (*path, "auth", "jwt", "public_key"), folder
            )


def _readable(name: object, path: Path, folder: FilePath) -> Found:
    if not isinstance(name, str) or not name:
        return
    file = folder / name
    try:
        with file.open("rb"):
            pass
    except (OSError, ValueError) as exc:
        shown_file = str(file) if str(file).isprintable() else ascii(str(file))
        yield path, f"cannot read {shown_file}: {getattr(exc, 'strerror', exc)}"


def _check_route_names(data: dict[str, Any]) -> Found:
    names: dict[str, Path] = {}
    shapes: dict[tuple[str, ...], Path] = {}
    for path, route in _items(data, "routes"):
        template = route.get("path")
        name = route.get("name")
        try:
            shape = tuple(
                part.text if part.kind == "literal" else f"{{{part.kind}}}"
                for part in parse_path(template or "")
            )
        except (ValueError, AttributeError):
            pass
        else:
            name = name or default_name(str(template))
            if shape in shapes:
                first = place(shapes[shape])
                yield (*path, "path"), f"is never reached: {first} has the same path"
            shapes.setdefault(shape, path)
        if isinstance(name, str) and name:
            if name in names:
                yield (
                    (*path, "name"),
                    f"{shown(name)} is also the name of {place(names[name])}; give it another",
                )
            names.setdefault(name, path)


def _check_subscribe(route: dict[str, Any], path: Path) -> Found:
    subscribe = route.get("subscribe")
    try:
        segments = parse_path(route.get("path") or "")
    except (ValueError, AttributeError):
        return
    known = [part.text for part in segments if part.kind != "literal"]
    for index, template in enumerate(subscribe if isinstance(subscribe, list) else [subscribe]):
        try:
            parts = parse_channel(template) if isinstance(template, str) else ()
        except ValueError:
            continue
        for part in parts:
            if isinstance(part, Variable) and part.source == "path" and part.name not in known:
                has = ", ".join(f"{{{name}}}" for name in known) or "no variables"
                at = (
                    (*path, "subscribe", index)
                    if isinstance(subscribe, list)
                    else (*path, "subscribe")
                )
                yield at, f"the path has no {{{part.name}}}; it has {has}"


def _check_client(route: dict[str, Any], path: Path) -> Found:
    block = route.get("client")
    for key in _WHOLE_GATEWAY:
        if key in route:
            yield (*path, key), "counts for the whole gateway; set it in client"
        elif isinstance(block, dict) and key in block:
            yield (*path, "client", key), "counts for the whole gateway; set it in client"


def _check_rules(route: dict[str, Any], path: Path, databases: list[str]) -> Found:
    messages = route.get("messages")
    rules = messages.get("rules") if isinstance(messages, dict) else None
    for name, rule in rules.items() if isinstance(rules, dict) else ():
        query = rule.get("postgres") if isinstance(rule, dict) else None
        if isinstance(query, dict):
            at = (*path, "messages", "rules", name, "postgres")
            yield from _refers(query, at, "dsn", databases, "database")


def _check_stores(route: dict[str, Any], path: Path, data: dict[str, Any]) -> Found:
    stores = _names(data, "stores")
    caches: list[tuple[Path, object]] = [((*path, "cache"), route.get("cache"))]
    messages = route.get("messages")
    rules = messages.get("rules") if isinstance(messages, dict) else None
    for name, rule in rules.items() if isinstance(rules, dict) else ():
        if isinstance(rule, dict):
            caches.append(((*path, "messages", "rules", name, "cache"), rule.get("cache")))
    for at, cache in caches:
        store = cache.get("store", "memory") if isinstance(cache, dict) else "memory"
        if store in ("memcached", "redis") and store not in stores:
            yield (*at, "store"), f"stores has no {store}; say where it is"
