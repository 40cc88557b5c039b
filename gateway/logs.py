"""Structured logs: set up once, escaped, without secrets.

Events are constants, values are fields. Every string is stripped of control characters before it
is written, because some of them (PHP's STDERR, header names) come from outside.
"""

import logging
import re
import sys
import time
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

from .stderr import StandardError

_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")

_PER_SECOND: Final = 10

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def escape(text: str) -> str:
    r"""The text with its control characters written out (`\x1b`), so that a terminal is safe."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found.group()):02x}", text)


def _escape_values(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str) and key not in {"exception", "stack"}:
            event[key] = escape(value)
    return event


def configure(level: str, style: str) -> None:
    """Send structlog and the standard library's logging to stderr; `style` console or json."""
    global _stream  # noqa: PLW0603 - there is one standard error
    before: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _escape_values,
    ]
    if style == "json":
        last: list[structlog.types.Processor] = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    else:
        # The default formatter shows local variables: messages, tokens and cookies.
        last = [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    threshold = LEVELS[level]
    if _stream is not None:
        _stream.close()
    _stream = stream = StandardError()
    flood = _Flood()
    structlog.configure(
        processors=[flood, *before, *last],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: _Lines(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    handler.addFilter(flood.filter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(threshold, logging.WARNING) if threshold > logging.DEBUG else threshold)


_stream: StandardError | None = None


class _Lines:
    """What structlog writes rendered lines to."""

    def __init__(self, stream: StandardError) -> None:
        self._stream = stream

    def msg(self, message: str) -> None:
        """One line."""
        self._stream.write(message + "\n")

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


class Throttle:
    """At most ten lines a second for one cause, however many a client or a script provokes.

    One instance stands beside each call that outsiders can trigger; the line that gets through
    after a pause says how many were left out.
    """

    __slots__ = ("_count", "_second", "suppressed")

    def __init__(self) -> None:
        self._second = 0
        self._count = 0
        self.suppressed = 0

    def allows(self) -> bool:
        """Whether this line may be written."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._count = second, 0
        self._count += 1
        if self._count > _PER_SECOND:
            self.suppressed += 1
            return False
        return True

    def taken(self) -> dict[str, int]:
        """The field that tells how many lines were left out, and none where none were."""
        count, self.suppressed = self.suppressed, 0
        return {"suppressed": count} if count else {}


_MOST_CAUSES: Final = 1000


class _Flood:
    """The last dam: at most ten lines a second of one event on one route, or of one library's.

    Events are constants and routes come from the configuration, so there are few of them; what
    libraries write is less certain, so the number of causes is bounded.
    """

    def __init__(self) -> None:
        self._throttles: dict[tuple[str, str], Throttle] = {}

    def __call__(
        self, _logger: object, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """As structlog's processor."""
        if method == "debug":
            return event
        throttle = self._of(event.get("event"), event.get("route"))
        if not throttle.allows():
            raise structlog.DropEvent
        for name, count in throttle.taken().items():
            event[name] = event.get(name, 0) + count
        return event

    def filter(self, record: logging.LogRecord) -> bool:
        """As the standard library's filter: the format is the event, before values are in it."""
        return record.levelno <= logging.DEBUG or self._of(record.name, record.msg).allows()

    def _of(self, name: object, more: object) -> Throttle:
        key = (str(name), str(more))
        throttle = self._throttles.get(key)
        if throttle is None:
            if len(self._throttles) >= _MOST_CAUSES:
                self._throttles.clear()
            throttle = self._throttles[key] = Throttle()
        return throttle
