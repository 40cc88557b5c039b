"""Replies that are kept, and questions that are asked once for everybody who asks them.

Kept is a plain success: a reply that sets no cookie and asks for no effect means the same to
whoever gets it. While the same question is with PHP, those who ask it too wait for that answer;
an answer that is for one connection alone is given to that one, and the others ask for themselves.

What is the same question is decided by the configuration: the route, the rule, the script, and
the parts of the message that `cache.key` names. A store that is away costs a miss, never an error.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec

from fastcgi import FastCGIError, Response
from gateway.config.routes import Cache as Settings
from gateway.errors import GatewayError
from gateway.metrics import Metrics

from .reply import head_of
from .stores import Guarded, Store, is_for_anybody, pack, unpack

MAX_KEPT: Final = 512 * 1024
"""Bytes of a reply; larger ones are not kept."""
_NONE: Final = b"\0"
_SOME: Final = b"\1"

_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_value: Final = msgspec.json.Decoder().decode
_encode_fields: Final = msgspec.json.Encoder(order="deterministic").encode


class Subject(Protocol):
    """The connection that asks, as far as answers may depend on it."""

    @property
    def user(self) -> str:
        """Who it belongs to."""

    @property
    def path(self) -> str:
        """The path of its handshake."""

    @property
    def serial_key(self) -> str:
        """By what it lines up with others."""


class Question(Protocol):
    """An Invocation or an Inquiry."""

    @property
    def body(self) -> bytes:
        """The message."""

    asker: Any
    target: Any


class _Flight:
    """One question that is being answered, and who else waits for it. Takes the asker's place."""

    __slots__ = ("_asker", "_cache", "_key", "followers")

    def __init__(self, cache: "ReplyCache", key: bytes, asker: Any) -> None:
        self._cache, self._key, self._asker = cache, key, asker
        self.followers: list[tuple[Question, str]] = []

    @property
    def id(self) -> str:
        """The connection that asked first, for the log."""
        return str(self._asker.id)

    def on_answer(self, question: Question, response: Response) -> None:
        """PHP has answered."""
        self._land(question, response, keep=True)

    def on_hit(self, question: Question, response: Response) -> None:
        """The answer was kept."""
        self._land(question, response, keep=False)

    def on_no_answer(self, question: Question, error: FastCGIError | GatewayError) -> None:
        """There is no answer, for none of them."""
        self._cache.landed(self._key)
        self._asker.on_no_answer(question, error)
        for follower, _ in self.followers:
            follower.asker.on_no_answer(follower, error)

    def _land(self, question: Question, response: Response, *, keep: bool) -> None:
        self._cache.landed(self._key)
        shared = is_for_anybody(response)
        if shared and keep:
            self._cache.keep(self._key, response)
        self._asker.on_answer(question, response)
        for follower, serial_key in self.followers:
            if shared:
                follower.asker.on_answer(follower, response)
            else:
                follower.target.submit(follower, serial_key)


class ReplyCache:
    """The kept replies of one route or rule. `base` is what its answers depend on besides.

    `store` is in this process or elsewhere; `wall` gives Unix time, which other processes share.
    """

    def __init__(
        self,
        settings: Settings,
        store: "Store | Guarded",
        metrics: Metrics,
        *,
        base: bytes,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._ttl = settings.ttl
        self._parts = settings.key
        self._store = store
        self._wall = wall
        self._base = hashlib.blake2b(msgspec.msgpack.encode([base, settings.key]), digest_size=20)
        self._flights: dict[bytes, _Flight] = {}
        self._hits, self._misses, self._coalesced = (
            metrics.cache_requests_total.labelled(result) for result in ("hit", "miss", "coalesced")
        )

    def take(self, question: Question, subject: Subject, *, text: bool) -> bool:
        """Whether the question is taken care of; if not, the caller submits it.

        The asker is never answered from inside this call.
        """
        key = self._key(question.body, subject, text=text)
        if key is None:
            return False
        flight = self._flights.get(key)
        if flight is not None:
            self._coalesced.value += 1
            flight.followers.append((question, subject.serial_key))
            return True
        store = self._store
        if isinstance(store, Guarded):
            self._flights[key] = question.asker = flight = _Flight(self, key, question.asker)
            if not store.rests:
                work = self._look_elsewhere(store, key, flight, question, subject.serial_key)
                store.tasks.spawn(work, name="look-up in a cache")
                return True
        else:
            kept = store.get(key)
            if kept is not None:
                self._hits.value += 1
                asyncio.get_running_loop().call_soon(question.asker.on_answer, question, kept)
                return True
            self._flights[key] = question.asker = _Flight(self, key, question.asker)
        self._misses.value += 1
        return False

    def landed(self, key: bytes) -> None:
        """Whoever asks from now on is not in time for the answer that has come."""
        self._flights.pop(key, None)

    def keep(self, key: bytes, response: Response) -> None:
        """Keep a shared answer, if it is a success of bearable size."""
        if not head_of(response).plain or len(response.body) > MAX_KEPT:
            return
        kept = Response(response.status, response.headers, response.body)
        store = self._store
        if isinstance(store, Guarded):
            store.keep(key, pack(kept, self._wall() + self._ttl), self._ttl)
        else:
            store.put(key, kept, self._ttl)

    async def _look_elsewhere(
        self, store: "Guarded", key: bytes, flight: _Flight, question: Question, serial_key: str
    ) -> None:
        found: Response | None = None
        try:
            found = unpack(await store.get(key), self._wall())
        finally:
            # Also when this task is cancelled: whoever asked is answered.
            if found is None:
                self._misses.value += 1
                question.target.submit(question, serial_key)
            else:
                self._hits.value += 1
                flight.on_hit(question, found)

    def _key(self, body: bytes, subject: Subject, *, text: bool) -> bytes | None:
        """A name for the question, None for one that has not what the key is made of."""
        parts = self._parts
        if parts == "body":
            pieces: Sequence[bytes] = (body,)
        elif parts == "body+path":
            pieces = (body, subject.path.encode("utf-8", "surrogateescape"))
        elif parts == "body+user":
            pieces = (body, subject.user.encode("utf-8", "surrogateescape"))
        else:
            chosen = _chosen(parts, body)
            if chosen is None:
                return None
            pieces = chosen
        hasher = self._base.copy()
        hasher.update(b"t" if text else b"b")
        for piece in pieces:
            # With its length in front, no two lists of pieces are the same bytes.
            hasher.update(b"%d:" % len(piece))
            hasher.update(piece)
        return hasher.digest()


def _chosen(names: Sequence[str], body: bytes) -> list[bytes] | None:
    """The values of these fields, each in one form however the client wrote it."""
    try:
        found = _fields(body)
        return [
            _SOME + _encode_fields(_value(found[name])) if name in found else _NONE
            for name in names
        ]
    except (msgspec.MsgspecError, RecursionError, UnicodeError, OverflowError):
        return None
