"""Listening for clients that speak TLS.

asyncio's own server takes every connection and tells of it when the handshake is done; clients
that never finish theirs would take all file descriptors meanwhile. So connections are accepted
here, and those for which there is no room are closed at once.
"""

import asyncio
import contextlib
import socket
import ssl
from typing import Final

from gateway.tasks import TaskSet

from .front import Entrance

_AT_ONCE: Final = 64
_PAUSE: Final = 0.1


class SecureListener:
    """Serves on a socket, which it closes in the end, from when it is made until `close`."""

    def __init__(
        self,
        listener: socket.socket,
        entrance: Entrance,
        context: ssl.SSLContext,
        *,
        timeout: float,
        tasks: TaskSet,
    ) -> None:
        self._listener = listener
        self._entrance = entrance
        self._context = context
        self._timeout = timeout
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._resuming: asyncio.TimerHandle | None = None
        self._resume()

    @property
    def waits(self) -> bool:
        """Whether nobody is accepted for a moment, because no descriptor is left."""
        return self._resuming is not None

    def close(self) -> None:
        """Accept nobody any more; those who are inside stay. Idempotent."""
        if self._listener.fileno() < 0:
            return
        if self._resuming is not None:
            self._resuming.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def _resume(self) -> None:
        self._resuming = None
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                made, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                # Not even one descriptor is left: trying again at once would not stop.
                self._loop.remove_reader(self._listener)
                self._resuming = self._loop.call_later(_PAUSE, self._resume)
                return
            if self._entrance.descriptors.permit(made.fileno()):
                made.setblocking(False)
                self._tasks.spawn(self._secure(made), name="tls handshake")
            else:
                made.close()

    async def _secure(self, made: socket.socket) -> None:
        # A handshake that fails is its client's affair: there is nobody to be told.
        with contextlib.suppress(OSError):
            await self._loop.connect_accepted_socket(
                self._entrance, made, ssl=self._context, ssl_handshake_timeout=self._timeout
            )
