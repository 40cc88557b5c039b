import pytest

from fastcgi.address import MAX_UNIX_PATH, TcpAddress, UnixAddress, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:/run/php/php-fpm.sock", UnixAddress("/run/php/php-fpm.sock")),
        ("127.0.0.1:9000", TcpAddress("127.0.0.1", 9000)),
        ("php:9000", TcpAddress("php", 9000)),
        ("[::1]:9000", TcpAddress("::1", 9000)),
        ("h:65535", TcpAddress("h", 65535)),
    ],
)
def test_an_address_is_read_and_written_alike(text, address):
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("unix:run/php.sock", "absolute path"),
        ("unix:", "absolute path"),
        ("unix:/a\0b", "NUL"),
        ("unix:/" + "é" * 54, "109 bytes, limit 107"),
        ("php-fpm", "expected unix:/path"),
        ("::1:9000", "brackets"),
        (":9000", "a host before the port"),
        ("[]:9000", "a host before the port"),
        ("a b:9000", "a host before the port"),
        ("http://a:80", "brackets"),
        ("//a:80", "a host before the port"),
        ("a:", "a port"),
        ("a:0", "a port"),
        ("a:65536", "a port"),
        ("a:1234567", "a port"),
        ("a:-1", "a port"),
        ("a:²", "a port"),
        ("a:http", "a port"),
    ],
)
def test_a_wrong_address_is_refused_with_its_mistake(text, says):
    with pytest.raises(ValueError, match=says):
        parse_address(text)


def test_the_longest_path_the_kernel_takes_is_accepted():
    path = "/" + "a" * (MAX_UNIX_PATH - 1)
    assert parse_address(f"unix:{path}") == UnixAddress(path)
