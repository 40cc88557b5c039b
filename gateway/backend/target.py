"""One script of one upstream, as a route or one of its rules uses it.

Everything that is the same for all of its requests is made here once: the encoded params, the
templates of a message's params, the limits.
"""

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from fastcgi import FastCGIError, PoolError, QueueTimeoutError, Response
from gateway.logs import Throttle

from . import environ
from .diagnosis import explain_failure, explain_response
from .lines import Lines
from .upstreams import Upstream

if TYPE_CHECKING:
    from .invocation import Invocation

log: Final = structlog.get_logger()
_LOGGED_STDERR: Final = 4096


class Target:
    """Where invocations go, and what is learnt from their answers."""

    __slots__ = (
        "_failures",
        "_lines",
        "_stderr",
        "binary_template",
        "block",
        "idempotent",
        "route",
        "rule",
        "script",
        "text_template",
        "timeout",
        "upstream",
    )

    def __init__(
        self,
        upstream: Upstream,
        *,
        script: str,
        route: str,
        rule: str | None = None,
        content_type: str = environ.JSON_TYPE,
        idempotent: bool = False,
        serialized: bool = False,
    ) -> None:
        settings = upstream.settings
        self.upstream = upstream
        self.route = route
        self.rule = rule
        self.script = environ.script_filename(settings.document_root, script)
        self.timeout = settings.timeout
        self.idempotent = idempotent
        self.block = environ.target_block(
            document_root=settings.document_root,
            script=script,
            route=route,
            rule=rule,
            extra=settings.params,
        )
        self.text_template = environ.message_template(content_type=content_type, text=True)
        self.binary_template = environ.message_template(content_type=content_type, text=False)
        self._lines: Lines[Invocation] | None = None
        if serialized:
            self._lines = Lines(limit=settings.queue_size, wait=settings.queue_timeout)
        self._stderr = Throttle()
        self._failures = Throttle()

    def submit(self, invocation: "Invocation", key: str = "") -> None:
        """Send it, or let it wait behind the others of its key; the answer never comes at once."""
        if self._lines is not None and key:
            try:
                goes = self._lines.enter(key, invocation, asyncio.get_running_loop().time())
            except PoolError as exc:
                asyncio.get_running_loop().call_soon(invocation.on_failure, exc)
                return
            invocation.ticket = key
            if not goes:
                return
        self._send(invocation)

    def expire(self, now: float) -> None:
        """Fail those who have waited too long behind others of their key."""
        if self._lines is not None:
            for invocation in self._lines.expire(now):
                invocation.ticket = None
                invocation.on_failure(QueueTimeoutError(self.upstream.settings.queue_timeout))

    def answered(self, invocation: "Invocation", response: Response) -> None:
        """Note an answer: the next of its key goes, STDERR and known mistakes are logged."""
        if invocation.ticket is not None:
            self._leave(invocation)
        self.upstream.observe(self.route, invocation, response.status)
        if response.stderr or response.status in (403, 404):
            self._log_response(invocation, response)

    def failed(self, invocation: "Invocation", error: FastCGIError) -> None:
        """Note a failure: the next of its key goes, the operator is told."""
        if invocation.ticket is not None:
            self._leave(invocation)
        self.upstream.observe_failure(self.route, invocation, error)
        if self._failures.allows():
            log.warning(
                "request failed",
                route=self.route,
                upstream=self.upstream.name,
                connection=invocation.asker.id,
                error=str(error),
                kind=type(error).__name__,
                **({"cure": cure} if (cure := explain_failure(error)) else {}),
                **self._failures.taken(),
            )

    def _send(self, invocation: "Invocation") -> None:
        try:
            self.upstream.pool.submit(invocation)
        except FastCGIError as exc:
            # Submitters are never called back from inside their own call.
            asyncio.get_running_loop().call_soon(invocation.on_failure, exc)

    def _leave(self, invocation: "Invocation") -> None:
        key, invocation.ticket = str(invocation.ticket), None
        if self._lines is not None and (following := self._lines.leave(key)) is not None:
            self._send(following)

    def _log_response(self, invocation: "Invocation", response: Response) -> None:
        if not self._stderr.allows():
            return
        fields: dict[str, object] = {
            "route": self.route,
            "upstream": self.upstream.name,
            "connection": invocation.asker.id,
            **self._stderr.taken(),
        }
        if response.stderr:
            text = response.stderr[:_LOGGED_STDERR].decode("utf-8", "backslashreplace")
            log.warning("php wrote to stderr", text=text.strip(), status=response.status, **fields)
        if (cure := explain_response(response, self.script)) is not None:
            log.error("php-fpm did not run the script", cure=cure, **fields)
