"""Where php-fpm listens: `unix:/path`, `host:port` or `[v6]:port`.

Nothing here resolves a name or opens a socket.
"""

from dataclasses import dataclass
from typing import Final

# sun_path of unix(7) has 108 bytes, the closing NUL among them.
MAX_UNIX_PATH: Final = 107
_MAX_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A socket in the file system."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A host (a name or a literal address, without brackets) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


Address = UnixAddress | TcpAddress


def parse_address(text: str) -> Address:
    """The address that `text` names; ValueError says what is wrong with it."""
    if text.startswith("unix:"):
        return _parse_unix(text.removeprefix("unix:"))
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(f'expected unix:/path, host:port or [v6]:port, got "{text}"')
    return TcpAddress(_parse_host(host, text), _parse_port(port))


def _parse_unix(path: str) -> UnixAddress:
    if not path.startswith("/"):
        raise ValueError(f'a unix socket needs an absolute path, got "{path}"')
    if "\0" in path:
        raise ValueError("the path of a unix socket contains a NUL character")
    size = len(path.encode())
    if size > MAX_UNIX_PATH:
        raise ValueError(f"the path of a unix socket has {size} bytes, limit {MAX_UNIX_PATH}")
    return UnixAddress(path)


def _parse_host(host: str, text: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f'an IPv6 address stands in brackets: [v6]:port, got "{text}"')
    if not host or any(character in "[]/" or character.isspace() for character in host):
        raise ValueError(f'expected a host before the port, got "{text}"')
    return host


def _parse_port(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text[:6]) <= _MAX_PORT:
        raise ValueError(f'expected a port from 1 to {_MAX_PORT}, got "{text}"')
    return int(text)
