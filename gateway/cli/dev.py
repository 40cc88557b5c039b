"""`wsgate dev [DIR]`: a folder of PHP files, served at once, php-fpm included."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import structlog
from aiohttp import web

from gateway import logs
from gateway.config.loading import load
from gateway.config.model import Config
from gateway.errors import ConfigurationError, GatewayError
from gateway.server.demo import DemoRoute, LastRequest, add_demo
from gateway.server.pages import CONNECTIONS, PhpPages
from gateway.server.phpfpm import PrivatePhpFpm
from gateway.server.run import run
from gateway.server.worker import Worker

from .folders import children_for, config_of, example_path, page_of, with_private_php_fpm

log = structlog.get_logger()


@click.command("dev")
@click.argument("directory", metavar="[DIR]", default="php-example", type=Path)
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535))
@click.option("--internal-port", default=8081, show_default=True, type=click.IntRange(1, 65535))
@click.option(
    "--config",
    "config_file",
    metavar="FILE",
    help="Take routes and everything else from FILE; php-fpm is still a private one.",
)
def command(directory: Path, port: int, internal_port: int, config_file: str | None) -> None:
    """Serve the PHP files in DIR (default php-example), with a php-fpm of its own.

    DIR/NAME/ws.php is the route /ws/NAME. Ctrl-C stops all of it.
    """
    read: Callable[[], Config] = (
        partial(load, config_file) if config_file else partial(config_of, directory)
    )
    try:
        config = read()
        root = _document_root(config, directory)
        logs.configure(config.log.level, config.log.format)
        with PrivatePhpFpm(
            root,
            children=children_for(config) + CONNECTIONS,
            on_line=_log_line,
            on_exit=_log_exit,
        ) as php_fpm:
            _serve(read, root, php_fpm.socket, port, internal_port)
    except GatewayError as exc:
        raise click.ClickException(str(exc)) from exc


def _serve(
    read: Callable[[], Config], root: Path, socket: Path, port: int, internal_port: int
) -> None:
    last_request = LastRequest()

    def private() -> Config:
        return with_private_php_fpm(read(), socket, port=port, internal_port=internal_port)

    config = private()

    def extend(app: web.Application) -> None:
        routes = [
            DemoRoute(route.name, route.path, example_path(route), page_of(route, root))
            for route in config.routes
        ]
        pages = PhpPages(root, socket, {"WSGATE_API": f"http://{config.internal.listen}"})
        add_demo(app, routes=routes, examples=root, last_request=last_request, pages=pages)

    def on_ready(worker: Worker) -> None:
        last_request.watch(worker.metrics.fastcgi_request_duration_seconds)
        _say(config)

    run(config, load=private, extend=extend, on_ready=on_ready)


def _say(config: Config) -> None:
    public, internal = config.listen[0], config.internal.listen
    width = max(len(route.path) for route in config.routes)
    click.echo(f"\n  http://{public}/   the demo page")
    click.echo(f"  http://{internal}/   API, metrics, health; for this machine only\n")
    for route in config.routes:
        answered = "by its message rules" if route.messages else "no PHP: channels alone"
        click.echo(f"  {route.path:<{width}}   {route.script or answered}")
    click.echo("\n  Ctrl-C stops the gateway and its php-fpm.\n")


def _document_root(config: Config, directory: Path) -> Path:
    """The folder whose owner PHP runs as, and whose pages are served."""
    for upstream in config.upstreams.values():
        root = Path(upstream.document_root)
        if not root.is_dir():
            raise ConfigurationError(f"document_root {root}: no such folder")
        return root
    return directory


def _log_line(line: str) -> None:
    # php-fpm's own notices of its start and end say nothing that is not known.
    if "NOTICE:" in line:
        log.debug("php-fpm", line=line)
    else:
        log.warning("php-fpm", line=line)


def _log_exit(status: int) -> None:
    log.error("php-fpm has ended by itself; frames will fail with 503", status=status)
