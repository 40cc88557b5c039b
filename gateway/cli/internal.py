"""What the commands that talk to the internal listener share: its address, its key, one request.

The standard library's client, without proxies from the environment: the listener is on this
machine or in this network, and its key must not go through anybody else.
"""

import http.client
import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlsplit

import click

DEFAULT_API: Final = "http://127.0.0.1:8081"
_SECONDS: Final = 10.0
_CONNECTIONS: Final = {
    "http": http.client.HTTPConnection,
    "https": http.client.HTTPSConnection,
}
_CommandT = TypeVar("_CommandT", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Answer:
    """What the listener answered."""

    status: int
    body: bytes

    @property
    def succeeded(self) -> bool:
        """Whether the status is one of success."""
        return 200 <= self.status < 300  # noqa: PLR2004 - the hundred of success

    @property
    def complaint(self) -> str:
        """The error in one line."""
        try:
            error = json.loads(self.body)["error"]
            return f"{self.status} {error['type']}: {error['message']}"
        except (ValueError, KeyError, TypeError):
            return f"{self.status} {http.client.responses.get(self.status, '')}".strip()


class _UnixConnection(http.client.HTTPConnection):
    """HTTP through a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _connection(api: str) -> tuple[http.client.HTTPConnection, str]:
    """A connection not yet opened, and the path that comes before every call's own."""
    if api.startswith("unix:"):
        return _UnixConnection(api.removeprefix("unix:").removeprefix("//")), ""
    try:
        parts = urlsplit(api)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    if not host or parts.scheme not in _CONNECTIONS:
        raise click.ClickException(f'--api: expected http://HOST:PORT or unix:/PATH, got "{api}"')
    return _CONNECTIONS[parts.scheme](host, port, timeout=_SECONDS), parts.path.rstrip("/")


def call(
    api: str,
    key: str,
    method: str,
    *path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request; the parts of `path` are escaped. ClickException when nobody answers."""
    connection, prefix = _connection(api)
    sent = dict(headers or {})
    if key:
        sent["Authorization"] = f"Bearer {key}"
    target = prefix + "".join(f"/{quote(part, safe='')}" for part in path)
    try:
        connection.request(method, target, body=body, headers=sent)
        response = connection.getresponse()
        return Answer(response.status, response.read())
    except (OSError, http.client.HTTPException) as exc:
        raise click.ClickException(f"{api} does not answer: {exc or type(exc).__name__}") from exc
    except ValueError as exc:
        # A header with a line break in it.
        raise click.ClickException(str(exc)) from exc
    finally:
        connection.close()


def reached_by(command: _CommandT) -> _CommandT:
    """Give a command the options `--api` and `--key`, also read from the environment."""
    key = click.option(
        "--key",
        envvar="WSGATE_API_KEY",
        default="",
        metavar="KEY",
        help="The listener's internal.api_key (or WSGATE_API_KEY).",
    )
    api = click.option(
        "--api",
        envvar="WSGATE_API",
        default=DEFAULT_API,
        show_default=True,
        metavar="URL",
        help="The internal listener (or WSGATE_API); unix:/PATH for a socket.",
    )
    return api(key(command))
