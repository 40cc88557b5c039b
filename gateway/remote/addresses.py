"""Reading the parts of an address, and writing it without its secrets."""

from urllib.parse import urlsplit


def host_of(text: str, default: int) -> tuple[str, int]:
    """Host and port of `host[:port]`; ValueError when there is no host."""
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("a host is missing")
    return parts.hostname, parts.port or default


def without_secrets(url: str) -> str:
    """The URL without user, password and query, for logs."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"
