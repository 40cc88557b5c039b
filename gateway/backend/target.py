"""One script of one upstream, as a route or one of its rules uses it.

Everything that is the same for all of its requests is made here once: the encoded params, the
templates of a message's params, the limits.
"""

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

from fastcgi import FastCGIError, PoolError, Response
from gateway.logs import Throttle
from gateway.metrics import Histogram

from . import environ
from .diagnosis import explain_failure, explain_response
from .upstreams import Upstream

if TYPE_CHECKING:
    from .caching import ReplyCache
    from .invocation import Invocation

log: Final = structlog.get_logger()
_LOGGED_STDERR: Final = 4096
_TELLING: Final = (403, 404)
"""Statuses with which php-fpm itself says that it did not run the script."""


class Target:
    """Where invocations go, and what is learnt from their answers."""

    __slots__ = (
        "_durations",
        "_failures",
        "_serialized",
        "_stderr",
        "_waits",
        "binary_template",
        "block",
        "cache",
        "idempotent",
        "route",
        "rule",
        "script",
        "stream",
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
        stream: bool = False,
    ) -> None:
        settings = upstream.settings
        self.upstream = upstream
        self.route = route
        self.rule = rule
        self.script = environ.script_filename(settings.document_root, script)
        self.timeout = settings.timeout
        self.idempotent = idempotent
        self.stream = stream
        self.block = environ.target_block(
            document_root=settings.document_root,
            script=script,
            route=route,
            rule=rule,
            extra=settings.params,
        )
        self.text_template = environ.message_template(content_type=content_type, text=True)
        self.binary_template = environ.message_template(content_type=content_type, text=False)
        self.cache: ReplyCache | None = None
        """What of its replies to messages is kept; whoever sends a message asks it first."""
        self._serialized = serialized
        self._waits = upstream.waits
        self._durations: dict[int, Histogram] = {}
        self._stderr = Throttle()
        self._failures = Throttle()

    def submit(self, invocation: "Invocation", key: str = "") -> None:
        """Send it, or let it wait behind the others of its key; the answer never comes at once.

        Without a key nobody else's turn is waited for.
        """
        if self._serialized and key:
            loop = asyncio.get_running_loop()
            try:
                goes = self.upstream.lines.enter(key, invocation, loop.time())
            except PoolError as exc:
                loop.call_soon(invocation.on_failure, exc)
                return
            # Who waits has no ticket yet: it has nothing to give back when its time is over.
            if not goes:
                return
            invocation.ticket = key
        try:
            self.upstream.pool.submit(invocation)
        except FastCGIError as exc:
            # Submitters are never called back from inside their own call.
            asyncio.get_running_loop().call_soon(invocation.on_failure, exc)

    def answered(self, invocation: "Invocation", response: Response) -> None:
        """Note an answer: the next of its key goes, STDERR and known mistakes are logged."""
        if invocation.ticket is not None:
            self._leave(invocation)
        status, sent_at = response.status, invocation.sent_at
        durations = self._durations.get(status) or self._durations_of(status)
        durations.observe(monotonic() - sent_at)
        if sent_at == invocation.queued_at:
            self._waits.counts[0] += 1
        else:
            self._waits.observe(sent_at - invocation.queued_at)
        if response.stderr or status in _TELLING:
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
                **({"stderr": _shown(error.stderr)} if error.stderr else {}),
                **({"cure": cure} if (cure := explain_failure(error)) else {}),
                **self._failures.taken(),
            )

    def _durations_of(self, status: int) -> Histogram:
        """Kept by status, so that an answer costs one look-up."""
        outcome = f"{status // 100}xx"
        self._durations[status] = durations = self.upstream.durations(self.route, outcome)
        return durations

    def _leave(self, invocation: "Invocation") -> None:
        key, invocation.ticket = str(invocation.ticket), None
        following = self.upstream.lines.leave(key)
        if following is not None:
            following.ticket = key
            following.target.submit(following)

    def _log_response(self, invocation: "Invocation", response: Response) -> None:
        cure = explain_response(response, self.script)
        if not (response.stderr or cure) or not self._stderr.allows():
            return
        fields: dict[str, object] = {
            "route": self.route,
            "upstream": self.upstream.name,
            "connection": invocation.asker.id,
            **self._stderr.taken(),
        }
        if response.stderr:
            text = _shown(response.stderr)
            log.warning("php wrote to stderr", text=text, status=response.status, **fields)
        if cure is not None:
            log.error("php-fpm did not run the script", cure=cure, **fields)


def _shown(stderr: bytes) -> str:
    return stderr[:_LOGGED_STDERR].decode("utf-8", "backslashreplace").strip()
