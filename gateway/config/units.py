"""The scalars people write in the file: durations, sizes, rates, switches, addresses.

Every function takes what the file holds (text, or a number from a caller in Python) and returns
the value or raises ValueError with "expected ..., got ...". Nothing here knows pydantic or YAML.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

KiB: Final = 1024
MiB: Final = 1024 * KiB
GiB: Final = 1024 * MiB

_T = TypeVar("_T")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES: Final = {
    "": 1,
    "b": 1,
    "kib": KiB,
    "mib": MiB,
    "gib": GiB,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
}
_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|h|d)", re.ASCII)
_SIZE: Final = re.compile(r"(\d{1,15}(?:\.\d{1,6})?) ?([A-Za-z]{0,3})", re.ASCII)
_RATE: Final = re.compile(r"(\d{1,9})/(s|m|h)", re.ASCII)
_NUMBER: Final = re.compile(r"-?\d{1,15}", re.ASCII)
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?", re.ASCII)
_CREDENTIALS: Final = re.compile(r"://[^/@]*@")
_ON: Final = frozenset({"on", "true", "yes"})
_OFF: Final = frozenset({"off", "false", "no"})
_MAX_PORT: Final = 65535
# sun_path holds 108 bytes with its final NUL.
_MAX_UNIX_PATH: Final = 107


def shown(value: object) -> str:
    """The value as an error message quotes it: short, on one line."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = _CREDENTIALS.sub("://***@", str(value).encode("unicode_escape").decode("ascii"))
    return f'"{text[:57]}..."' if len(text) > 60 else f'"{text}"'  # noqa: PLR2004 - one line


def _expected(what: str, value: object) -> ValueError:
    return ValueError(f"expected {what}, got {shown(value)}")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in so many seconds; `per_second` is what a token bucket refills with."""

    count: int
    seconds: float

    @property
    def per_second(self) -> float:
        """How many a second, on average."""
        return self.count / self.seconds

    def __str__(self) -> str:
        unit = next(name for name in ("s", "m", "h") if _SECONDS[name] == self.seconds)
        return f"{self.count}/{unit}"


@dataclass(frozen=True, slots=True)
class Listen:
    """An address: a host with a port, or the path of a unix socket.

    `path` is empty for TCP; `host` is empty and `port` 0 for a unix socket. IPv6 hosts stand
    without brackets; `str` gives the form of the file, which `fastcgi.address` reads as well.
    """

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def is_unix(self) -> bool:
        """Whether this is a unix socket."""
        return bool(self.path)

    @property
    def is_private(self) -> bool:
        """Whether only this machine can reach it: a unix socket or a loopback address."""
        if self.path or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def duration(value: object) -> float:
    """Seconds from `250ms`, `30s`, `5m`, `1h`, `2d`; a number in Python counts seconds."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9:  # noqa: PLR2004 - 30 years
        return float(value)
    if isinstance(value, str):
        if match := _DURATION.fullmatch(value.strip()):
            return float(match[1]) * _SECONDS[match[2]]
        if value.strip() == "0":
            return 0.0
    raise _expected("a duration such as 250ms, 30s or 5m", value)


def positive_duration(value: object) -> float:
    """A duration that is not zero."""
    seconds = duration(value)
    if seconds <= 0:
        raise _expected("a duration longer than 0", value)
    return seconds


def size(value: object) -> int:
    """Bytes from `512`, `64KiB`, `1MiB`, `1.5GiB` (also kB, MB, GB by thousands)."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        factor = _BYTES.get(match[2].lower())
        if factor is not None:
            return int(float(match[1]) * factor) if "." in match[1] else int(match[1]) * factor
    raise _expected("a size such as 64KiB or 1MiB", value)


def positive_size(value: object) -> int:
    """A size that is not zero."""
    if count := size(value):
        return count
    raise _expected("a size larger than 0", value)


def rate(value: object) -> Rate:
    """`50/s`, `100/m`, `1000/h`; at least one."""
    if isinstance(value, Rate):
        return value
    if isinstance(value, str) and (match := _RATE.fullmatch(value.strip())) and int(match[1]) > 0:
        return Rate(int(match[1]), _SECONDS[match[2]])
    raise _expected("a rate such as 50/s or 100/m", value)


def number(minimum: int) -> Callable[[object], int]:
    """A reader of whole numbers that are at least `minimum`."""

    def read(value: object) -> int:
        if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise _expected("a number", value)
        if value < minimum:
            raise _expected(f"a number of at least {minimum}", value)
        return value

    return read


def switch(value: object) -> bool:
    """`on`, `true`, `yes` or `off`, `false`, `no`."""
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in _ON or word in _OFF:
        return word in _ON
    raise _expected("on or off", value)


def or_off(read: Callable[[object], _T]) -> Callable[[object], _T | None]:
    """A reader that also takes `off` (also no, false), which is None."""

    def read_or_off(value: object) -> _T | None:
        if value is None or value is False:
            return None
        if isinstance(value, str) and value.strip().lower() in _OFF:
            return None
        try:
            return read(value)
        except ValueError as exc:
            text = str(exc)
            cut = text.rfind(", got ")
            raise ValueError(f"{text[:cut]} or off{text[cut:]}") from exc

    return read_or_off


def text(value: object) -> str:
    """Text without control characters; a number or a switch from Python is written out."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        raise _expected("text", value)
    if any(ord(character) < ord(" ") or character == "\x7f" for character in value):
        raise ValueError("expected text without control characters")
    return value


_LINES: Final = str.maketrans("", "", "\r\n\t")


def lines(value: object) -> str:
    """As `text`, of any number of lines."""
    if isinstance(value, str):
        text(value.translate(_LINES))
        return value
    return text(value)


def choice(*words: str) -> Callable[[object], str]:
    """A reader of one word out of several."""

    def read(value: object) -> str:
        word = value.strip() if isinstance(value, str) else value
        if isinstance(word, str) and word in words:
            return word
        raise _expected(" or ".join((", ".join(words[:-1]), words[-1])).lstrip(" or"), value)

    return read


def listen(value: object) -> Listen:
    """`host:port`, `[v6]:port` or `unix:/absolute/path`; port 0 lets the system choose."""
    if isinstance(value, Listen):
        return value
    if not isinstance(value, str):
        raise _expected("host:port or unix:/path", value)
    address = value.strip()
    if address.startswith("unix:"):
        return _unix(address)
    host, separator, port = address.rpartition(":")
    if not separator or not port.isascii() or not port.isdigit() or int(port[:6]) > _MAX_PORT:
        raise _expected("host:port or unix:/path", value)
    if host.startswith("[") and host.endswith("]"):
        try:
            return Listen(str(ipaddress.IPv6Address(host[1:-1])), int(port))
        except ValueError as exc:
            raise _expected("an IPv6 address in the brackets", value) from exc
    if not _HOST.fullmatch(host):
        raise _expected("host:port, [IPv6]:port or unix:/path", value)
    return Listen(host, int(port))


def _unix(address: str) -> Listen:
    path = address.removeprefix("unix:")
    if not path.startswith("/") or "\0" in path:
        raise _expected("an absolute path after unix:", address)
    if len(path.encode()) > _MAX_UNIX_PATH:
        raise ValueError(f"the path of a unix socket is longer than {_MAX_UNIX_PATH} bytes")
    return Listen(path=path)


def written(value: object) -> str:
    """A default as the file would have it, for scalars whose type tells the unit."""
    if value is None or value is False:
        return "off"
    if value is True:
        return "on"
    if isinstance(value, float):
        return written_duration(value)
    return str(value)


def written_duration(seconds: float) -> str:
    """`30s`, `5m`, `250ms`: the largest unit that leaves a whole number."""
    milliseconds = round(seconds * 1000)
    for unit, factor in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        # Days and hours only where they say it shorter: 24h is a day, 90s stays 90s.
        if milliseconds and milliseconds % factor == 0:
            return f"{milliseconds // factor}{unit}"
    return f"{milliseconds}ms" if milliseconds else "0s"


def written_size(count: int) -> str:
    """`64KiB`, `1MiB`: the largest unit that leaves a whole number."""
    for unit, factor in (("GiB", GiB), ("MiB", MiB), ("KiB", KiB)):
        if count and count % factor == 0:
            return f"{count // factor}{unit}"
    return str(count)
