"""Which pages may read an answer: what the browser asks about streams and polls, and not sockets.

The doorman has let the page's origin in (`allowed_origins`), as it does for WebSockets, which a
browser then lets it read. For answers over HTTP it wants to be told so: Fetch standard, CORS.
"""

from typing import Final

from .handshake import is_clean

_NO_SNIFFING: Final = ("X-Content-Type-Options", "nosniff")


def sharing_headers(origin: str) -> tuple[tuple[str, str], ...]:
    """For the answer to a request with this Origin header, or none.

    What is published must not be taken for a script by a page that may not read it.
    """
    if not origin or not is_clean("Origin", origin):
        return (_NO_SNIFFING,)
    return (
        _NO_SNIFFING,
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Allow-Credentials", "true"),
        ("Access-Control-Expose-Headers", "Etag, Last-Modified"),
        ("Vary", "Origin"),
    )
