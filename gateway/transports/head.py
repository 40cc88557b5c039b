"""The head of a request, whoever parsed it.

A struct, because one is made for every handshake: a frozen dataclass takes four times as long.
"""

import msgspec
from aiohttp import web
from aiohttp.http import HttpVersion, RawRequestMessage
from multidict import CIMultiDictProxy


class RequestHead(msgspec.Struct, frozen=True, gc=False):
    """What decides about a client. `target` is as on the wire."""

    method: str
    target: str
    version: HttpVersion
    headers: CIMultiDictProxy[str]

    @classmethod
    def of_message(cls, message: RawRequestMessage) -> "RequestHead":
        """Parsed by the front door."""
        return cls(message.method, message.path, message.version, message.headers)

    @classmethod
    def of_request(cls, request: web.BaseRequest) -> "RequestHead":
        """Parsed by aiohttp's server."""
        return cls(request.method, request.raw_path, request.version, request.headers)

    @property
    def path(self) -> str:
        """Percent-encoded, without query and fragment."""
        return self.split()[0]

    def split(self) -> tuple[str, str]:
        """The path, and the query without its question mark."""
        path, _, query = self.target.partition("#")[0].partition("?")
        return path, query

    @property
    def wants_events(self) -> bool:
        """Whether an EventSource asks."""
        return self.method == "GET" and "text/event-stream" in self.headers.get("accept", "")
