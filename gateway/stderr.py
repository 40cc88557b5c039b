"""Where log lines go: standard error, and never at the price of standing still.

A pipe whose reader has stopped fills up, and a write into it would stop the event loop until the
reader goes on. So nothing here waits: a line that standard error does not take at once is lost
and counted, and the count is written when lines are taken again.
"""

import contextlib
import os
import select
import socket
import stat
import sys
from typing import Final, TextIO

_AT_ONCE: Final = 4096
"""What a pipe takes whole when it is writable at all (POSIX: PIPE_BUF)."""


class StandardError:
    """A text stream for `structlog.PrintLogger` and `logging.StreamHandler`; never raises."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.lost = 0
        self._stream = stream or sys.stderr
        self._torn = False
        self._descriptor = -1
        self._own = -1
        self._socket: socket.socket | None = None
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self._descriptor = self._stream.fileno()
            self._open(os.fstat(self._descriptor).st_mode)

    def _open(self, mode: int) -> None:
        if stat.S_ISSOCK(mode):
            self._socket = socket.socket(fileno=os.dup(self._descriptor))
        elif stat.S_ISFIFO(mode):
            # The mode of the one we were given is shared with its other owners: a new one.
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
            with contextlib.suppress(OSError):
                self._own = os.open(f"/proc/self/fd/{self._descriptor}", flags)

    def write(self, text: str) -> int:
        """Write lines, or lose them."""
        if self._descriptor < 0:
            with contextlib.suppress(OSError, ValueError):
                self._stream.write(text)
            return len(text)
        data = text.encode("utf-8", "backslashreplace")
        if self.lost:
            data = b"%d log lines lost\n" % self.lost + data
        if self._torn:
            data = b"\n" + data
        try:
            sent = self._send(data)
        except OSError:
            sent = 0
        if sent == len(data):
            self._torn, self.lost = False, 0
        else:
            self._torn = self._torn or sent > 0
            self.lost += text.count("\n")
        return len(text)

    def flush(self) -> None:
        """Whatever is written has been handed on already."""
        if self._descriptor < 0:
            with contextlib.suppress(OSError, ValueError):
                self._stream.flush()

    def close(self) -> None:
        """Let go of what was opened; standard error itself stays."""
        if self._own >= 0:
            os.close(self._own)
            self._own = -1
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, data: bytes) -> int:
        """How many bytes were taken without waiting."""
        if self._socket is not None:
            return self._socket.send(data, socket.MSG_DONTWAIT)
        if self._own >= 0:
            return os.write(self._own, data)
        sent = 0
        writable = select.poll()
        writable.register(self._descriptor, select.POLLOUT)
        while sent < len(data) and writable.poll(0):
            sent += os.write(self._descriptor, data[sent : sent + _AT_ONCE])
        return sent
