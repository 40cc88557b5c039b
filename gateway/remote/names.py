"""The addresses behind names of servers, looked up without hanging anything else.

The resolver of the operating system may take half a minute to give up, and cannot be told to stop.
Look-ups therefore run in threads that nobody waits for at the end, one for a name at a time
however often it is asked for.
"""

import asyncio
import concurrent.futures
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any, Final

import structlog

log: Final = structlog.get_logger()

Found = list[tuple[Any, ...]]
"""What `socket.getaddrinfo` answers."""

_PATIENCE: Final = 1.0
_MOST: Final = 1000


class Names:
    """Answers as `socket.getaddrinfo` does, with the same arguments and errors.

    When the resolver fails or is silent for `patience` seconds, a name means what it meant last.
    When it says that there is no such name, there is none.
    """

    def __init__(
        self, look_up: Callable[..., Found] = socket.getaddrinfo, patience: float = _PATIENCE
    ) -> None:
        self._look_up = look_up
        self._patience = patience
        self._running: dict[tuple[Any, ...], concurrent.futures.Future[Found]] = {}
        self._known: dict[tuple[Any, ...], Found] = {}

    async def find(self, *question: Any) -> Found:
        """The addresses; without any known ones, for as long as the caller waits."""
        known = self._known.get(question)
        running = self._running.get(question) or self._begin(question)
        try:
            async with asyncio.timeout(None if known is None else self._patience):
                return await asyncio.wrap_future(running)
        except TimeoutError as exc:
            return self._as_before(known, exc)
        except socket.gaierror as exc:
            if exc.errno == socket.EAI_NONAME:
                self._known.pop(question, None)
                raise
            return self._as_before(known, exc)

    def _as_before(self, known: Found | None, error: OSError) -> Found:
        if known is None:
            raise error
        log.debug("a name could not be looked up, its last address is used", reason=str(error))
        return known

    def _begin(self, question: tuple[Any, ...]) -> concurrent.futures.Future[Found]:
        running: concurrent.futures.Future[Found] = concurrent.futures.Future()
        # From here on, whoever gives up waiting does not cancel it for the others.
        running.set_running_or_notify_cancel()
        self._running[question] = running
        loop = asyncio.get_running_loop()

        def tell(_: object) -> None:
            # A loop that is closed meanwhile asks nothing any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._end, question)

        running.add_done_callback(tell)
        threading.Thread(
            target=_run, args=(running, self._look_up, question), name="look-up", daemon=True
        ).start()
        return running

    def _end(self, question: tuple[Any, ...]) -> None:
        running = self._running.pop(question)
        if running.exception() is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[question] = running.result()


def _run(
    running: concurrent.futures.Future[Found],
    look_up: Callable[..., Found],
    question: tuple[Any, ...],
) -> None:
    try:
        found = look_up(*question)
    except Exception as exc:  # noqa: BLE001 - whoever asked is told
        running.set_exception(exc)
    else:
        running.set_result(found)
