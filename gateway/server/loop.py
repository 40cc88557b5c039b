"""The event loop of the gateway: uvloop, except that no look-up of a name can hang it.

uvloop looks names up in a pool of few threads, in turn. While a resolver is silent, every attempt
of every client library to reconnect would wait there behind those before it, and so would the end
of the process.
"""

import ipaddress
import socket
from typing import Any

import uvloop

from gateway.remote.names import Found, Names


class Loop(uvloop.Loop):
    """See the module's docstring. Every client library connects by `create_connection`."""

    def __init__(self) -> None:
        super().__init__()
        self.names = Names()

    async def getaddrinfo(
        self,
        host: Any,
        port: Any,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - asyncio's name
        proto: int = 0,
        flags: int = 0,
    ) -> Found:
        """As the event loop's."""
        return await self.names.find(host, port, family, type, proto, flags)

    async def create_connection(
        self,
        protocol_factory: Any,
        host: Any = None,
        port: Any = None,
        *,
        ssl: Any = None,
        server_hostname: str | None = None,
        **more: Any,
    ) -> Any:
        """As the event loop's; the addresses of a name are tried in turn."""
        connect = super().create_connection
        if not isinstance(host, str) or not host or _is_address(host):
            return await connect(
                protocol_factory, host, port, ssl=ssl, server_hostname=server_hostname, **more
            )
        if ssl and server_hostname is None:
            server_hostname = host
        found = await self.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        error: OSError = ConnectionError(f"{host} has no address")
        for *_, where in found:
            try:
                return await connect(
                    protocol_factory,
                    *where[:2],
                    ssl=ssl,
                    server_hostname=server_hostname,
                    **more,
                )
            except OSError as exc:
                error = exc
        raise error


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
