"""Which pages may connect."""

import pytest

from gateway.auth.origin import Origins


def permits(
    allowed: list[str], origin: str, scheme: str = "https", host: str = "h.example"
) -> bool:
    return Origins(allowed).permit(origin, scheme=scheme, host=host)


@pytest.mark.parametrize(
    ("origin", "permitted"),
    [
        ("", True),
        ("https://h.example", True),
        ("https://H.EXAMPLE", True),
        ("HTTPS://h.example", True),
        ("https://h.example:443", True),
        ("https://h.example/", True),
        ("https://h.example:8443", False),
        ("https://h.example:0", False),
        ("http://h.example", False),
        ("https://evil.example", False),
        ("https://h.example.evil.io", False),
        ("https://evilh.example", False),
        ("https://sub.h.example", False),
        ("https://h.example@evil.io", False),
        ("https://evil.io/h.example", False),
        ("https://evil.io?h.example", False),
        ("https://evil.io#h.example", False),
        ("https://h.example.", False),
        ("null", False),
        ("file://", False),
        ("h.example", False),
        ("https://", False),
        ("https://[::1", False),
        ("https://h.example:x", False),
        ("https://h.example https://h.example", False),
    ],
)
def test_same_origin(origin: str, permitted: bool) -> None:
    assert permits(["same-origin"], origin) is permitted


@pytest.mark.parametrize(
    ("scheme", "host", "origin"),
    [
        ("http", "127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http", "[::1]:8080", "http://[::1]:8080"),
        ("http", "H.example", "http://h.example"),
        ("https", "h.example:443", "https://h.example"),
    ],
)
def test_same_origin_is_scheme_host_and_port(scheme: str, host: str, origin: str) -> None:
    assert permits(["same-origin"], origin, scheme, host)


@pytest.mark.parametrize(
    ("allowed", "origin", "permitted"),
    [
        ("https://app.example.com", "https://app.example.com", True),
        ("https://app.example.com", "https://APP.example.com:443", True),
        ("https://app.example.com", "http://app.example.com", False),
        ("https://app.example.com", "https://app.example.com.evil.io", False),
        ("https://app.example.com", "https://appXexample.com", False),
        ("https://app.example.com", "https://h.example", False),
        ("https://*.example.com", "https://a.example.com", True),
        ("https://*.example.com", "https://a.b.example.com", True),
        ("https://*.example.com", "https://example.com", False),
        ("https://*.example.com", "https://evilexample.com", False),
        ("https://*.example.com", "https://a.example.com.evil.io", False),
        ("https://*.example.com", "https://a.example.com:444", False),
        ("http://localhost:*", "http://localhost:5173", True),
        ("http://localhost:*", "http://localhost", True),
        ("http://localhost:*", "http://localhost.evil.io:80", False),
        ("http://localhost:3000", "http://localhost:3000", True),
        ("http://localhost:3000", "http://localhost:3001", False),
        ("http://[::1]:8080", "http://[::1]:8080", True),
        ("null", "null", True),
        ("*", "null", True),
        ("*", "https://anything.example", True),
    ],
)
def test_a_list_is_exact(allowed: str, origin: str, permitted: bool) -> None:
    assert permits([allowed], origin) is permitted


def test_a_page_of_a_foreign_origin_is_refused_before_php_is_asked() -> None:
    origins = Origins(["same-origin", "https://partner.example"])

    assert origins.permit("https://partner.example", scheme="https", host="h.example")
    assert not origins.permit("https://evil.example", scheme="https", host="h.example")
