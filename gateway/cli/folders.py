"""From a folder of PHP files to a configuration: what `wsgate dev` serves without one.

`DIR/NAME/ws.php` is the route `/ws/NAME`, `DIR/ws.php` is `/ws`. A `wsgate.yaml` in a folder
adds to that: any of the sections below, in their ordinary form, except that a route's path,
name, script and upstream, and an upstream's address and document_root, may be left out.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gateway.config.document import Document, read
from gateway.config.loading import build
from gateway.config.model import Config
from gateway.config.problems import Problem
from gateway.config.routes import Route
from gateway.config.units import Listen
from gateway.errors import ConfigurationError

SCRIPT: Final = "ws.php"
FRAGMENT: Final = "wsgate.yaml"
UPSTREAM: Final = "app"
_LISTS: Final = ("routes", "channels", "sources")
_MAPPINGS: Final = ("upstreams", "databases", "stores", "client", "broker")
# Replaced by the private php-fpm's socket before anything connects.
_NOWHERE: Final = "unix:/nonexistent/php-fpm.sock"
_PATH_VARIABLE: Final = re.compile(r"\{(\w+)[^}]*\}")


def config_of(directory: Path) -> Config:
    """The configuration for the PHP files in a folder; its upstreams lead nowhere yet.

    Raises ConfigurationError when there is nothing to serve or a fragment is wrong.
    """
    root = directory.resolve()
    if not root.is_dir():
        raise ConfigurationError(f"{directory}: no such folder; say which: wsgate dev DIR")
    data: dict[str, Any] = {
        "upstreams": {UPSTREAM: {"max_connections": "4"}},
        "routes": [],
    }
    for folder in _folders(root):
        _add(data, root, folder)
    if not data["routes"]:
        raise ConfigurationError(f"{directory}: no {SCRIPT} here or in a folder below")
    for upstream in data["upstreams"].values():
        upstream.setdefault("address", _NOWHERE)
        upstream.setdefault("document_root", str(root))
    return build(Document(data), name=str(directory), folder=root)


def with_private_php_fpm(
    config: Config, socket: Path | None, *, port: int, internal_port: int
) -> Config:
    """The same, with every upstream at the private php-fpm and both listeners on loopback."""
    internal = Listen("127.0.0.1", internal_port)
    changes: dict[str, Any] = {
        "listen": (Listen("127.0.0.1", port),),
        "internal": config.internal.model_copy(update={"listen": internal}),
        "workers": 1,
    }
    if socket is not None:
        address = (Listen(path=str(socket)),)
        changes["upstreams"] = {
            name: upstream.model_copy(
                update={
                    "address": address,
                    "keepalive": True,
                    "params": {"WSGATE_API": f"http://{internal}", **upstream.params},
                }
            )
            for name, upstream in config.upstreams.items()
        }
    return config.model_copy(update=changes)


def children_for(config: Config) -> int:
    """How many php-fpm children leave one free when every upstream is busy."""
    return sum(upstream.max_connections for upstream in config.upstreams.values()) + 1


def example_path(route: Route) -> str:
    """A path that the route matches, for people to change."""
    return _PATH_VARIABLE.sub(lambda match: {"room": "lobby"}.get(match[1], match[1]), route.path)


def page_of(route: Route, root: Path) -> str:
    """Where the page of the route's folder is served, empty when it has none."""
    # A route that PHP hears nothing of has the name of its folder.
    folder = (root / route.script.lstrip("/")).parent if route.script else root / route.name
    if not (folder / "index.html").is_file() or not folder.is_relative_to(root):
        return ""
    inner = folder.relative_to(root).as_posix()
    return "/examples/" if inner == "." else f"/examples/{inner}/"


def _folders(root: Path) -> Iterator[Path]:
    for folder in (root, *sorted(path for path in root.iterdir() if path.is_dir())):
        if not folder.name.startswith(".") and (
            (folder / SCRIPT).is_file() or (folder / FRAGMENT).is_file()
        ):
            yield folder


def _add(data: dict[str, Any], root: Path, folder: Path) -> None:
    name = "" if folder == root else folder.name
    script = f"/{name}/{SCRIPT}" if name else f"/{SCRIPT}"
    fragment = _fragment(folder)
    routes = fragment.get("routes", [{}] if (folder / SCRIPT).is_file() else [])
    for route in routes:
        if not isinstance(route, dict):
            raise ConfigurationError(f"{folder / FRAGMENT}: routes: expected a list of mappings")
        route.setdefault("path", f"/ws/{name}" if name else "/ws")
        route.setdefault("upstream", UPSTREAM)
        if name and len(routes) == 1:
            route.setdefault("name", name)
        if "messages" not in route and (folder / SCRIPT).is_file():
            route.setdefault("script", script)
    for key in _LISTS:
        data.setdefault(key, []).extend(routes if key == "routes" else fragment.get(key, []))
    for key in _MAPPINGS:
        if key in fragment:
            data.setdefault(key, {}).update(fragment[key])


def _fragment(folder: Path) -> dict[str, Any]:
    file = folder / FRAGMENT
    if not file.is_file():
        return {}
    document = read(file.read_text(encoding="utf-8"), os.environ, folder)
    problems = list(document.problems)
    data = {} if document.data is None else document.data
    if not isinstance(data, dict):
        raise ConfigurationError(f"{file}: expected keys such as routes:")
    for key, value in data.items():
        if key not in {*_LISTS, *_MAPPINGS}:
            known = ", ".join((*_LISTS, *_MAPPINGS))
            line = document.lines.get((key,), 0)
            problems.append(Problem(line, key, f"a folder can only say {known}"))
        elif not isinstance(value, list if key in _LISTS else dict):
            expected = "a list" if key in _LISTS else "a mapping"
            problems.append(Problem(document.lines.get((key,), 0), key, f"expected {expected}"))
    if problems:
        raise ConfigurationError(*(problem.render(str(file)) for problem in problems))
    return data
