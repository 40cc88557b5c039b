"""Redis by URL: connections for commands and for listening. The only module that knows redis-py.

    redis://[[user]:password@]host[:port][/db]           one server; rediss:// with TLS
    unix://[[user]:password@]/path/to/socket[?db=0]      one server on this machine
    redis+sentinel://[auth@]host[:port],host[:port]/name[/db]   the master that Sentinel names
    redis+cluster://[auth@]host[:port],host[:port]       a cluster; rediss+... of both with TLS

What redis-py takes in a query (`?ssl_ca_certs=...`) may follow; `sentinel_username` and
`sentinel_password` are for the sentinels themselves. Nothing is sent twice: whether to try again
is decided above. Every error of the library leaves as a BrokerUnavailableError.
"""

import contextlib
from collections.abc import Iterator, Sequence
from random import shuffle
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit

from gateway.errors import BrokerUnavailableError, ConfigurationError

from .addresses import host_of, without_secrets

try:
    from redis import exceptions
    from redis.asyncio import Redis as Client
    from redis.asyncio import RedisCluster
    from redis.asyncio.cluster import ClusterNode
    from redis.asyncio.connection import parse_url
    from redis.asyncio.retry import Retry
    from redis.asyncio.sentinel import Sentinel
    from redis.backoff import NoBackoff
except ImportError as exc:  # pragma: no cover - the test environment has it
    raise ConfigurationError("Redis needs a library: pip install 'wsgate[redis]'") from exc

Command = tuple[bytes | str | int, ...]
"""A command with its arguments, as they are sent."""

_CONNECT_TIMEOUT: Final = 2.0
_SENTINEL_PORT: Final = 26379
_PORT: Final = 6379
_MARKER: Final = "+"


class ScriptMissingError(Exception):
    """The server does not know the script (any more); nothing was executed."""


class RefusedError(BrokerUnavailableError):
    """The server understood the connection, but answered one command with an error."""


class Link(Protocol):
    """A connection for commands."""

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """The answers in order; ScriptMissingError and RefusedError stand in their places.

        Raises BrokerUnavailableError when the connection is lost; it cannot be used again.
        """

    async def close(self) -> None:
        """Give the connection up. Idempotent."""


class Ear:
    """A connection that listens: SUBSCRIBE, UNSUBSCRIBE and PING go out, messages come in."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def send(self, commands: Sequence[Command]) -> None:
        """Write the commands; what is answered comes to `receive`."""
        with _translated():
            packed = self._connection.pack_commands(commands)
            await self._connection.send_packed_command(packed, check_health=False)

    async def receive(self) -> list[Any]:
        """The next message: [b"message", name, data], [b"subscribe", name, count], [b"pong", …]."""
        with _translated():
            # An error here is an answer to what was sent, and ends the connection.
            found = await self._connection.read_response(timeout=float("inf"))
        if isinstance(found, Exception):
            raise BrokerUnavailableError(str(found)) from found
        return found if isinstance(found, list) else [b"pong", found]

    async def close(self) -> None:
        """Give the connection up. Idempotent."""
        with contextlib.suppress(Exception):
            await self._connection.disconnect(nowait=True)


class _PlainLink:
    """Commands to one server over one connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        connection = self._connection
        with _translated():
            await connection.send_packed_command(
                connection.pack_commands(commands), check_health=False
            )
            return [await self._answer() for _ in commands]

    async def _answer(self) -> Any:
        try:
            return await self._connection.read_response()
        except exceptions.ResponseError as exc:
            return _refusal(exc)

    async def close(self) -> None:
        with contextlib.suppress(Exception):
            await self._connection.disconnect(nowait=True)


class _ClusterLink:
    """Commands to the masters of a cluster; the order is kept for each of them."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        with _translated():
            pipeline = self._cluster.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            answers = await pipeline.execute(raise_on_error=False)
        return [_judged(answer) for answer in answers]

    async def close(self) -> None:
        with contextlib.suppress(Exception):
            await self._cluster.aclose()


class Server:
    """Where a URL leads; makes connections, keeps none."""

    counts_receivers = True
    """Whether PUBLISH answers with all receivers there are, not only those of one node."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self.name = name
        """For logs: without a password."""

    async def link(self) -> Link:
        """A connection for commands; BrokerUnavailableError when there is none to be had."""
        return _PlainLink(await self._connection())

    async def ear(self) -> Ear:
        """A connection that listens."""
        return Ear(await self._connection())

    async def _connection(self) -> Any:
        with _translated():
            connection = self._client.connection_pool.make_connection()
            try:
                await connection.connect()
            except BaseException:
                with contextlib.suppress(Exception):
                    await connection.disconnect(nowait=True)
                raise
        return connection


class _Watched(Server):
    """The master that Sentinel names at the moment of connecting."""

    def __init__(self, watch: Any, master: str, name: str) -> None:
        super().__init__(watch.master_for(master), name)
        self._watch = watch

    async def _connection(self) -> Any:
        try:
            return await super()._connection()
        finally:
            # The sentinels are not needed until the next time.
            for sentinel in self._watch.sentinels:
                with contextlib.suppress(Exception):
                    await sentinel.connection_pool.disconnect()


class _Cluster(Server):
    """A cluster: commands go to the masters, listening to any node, where every PUBLISH comes."""

    counts_receivers = False

    def __init__(self, hosts: list[tuple[str, int]], options: dict[str, Any], name: str) -> None:
        super().__init__(None, name)
        self._hosts, self._options = hosts, options

    async def link(self) -> Link:
        options = {key: value for key, value in self._options.items() if key != "db"}
        nodes = [ClusterNode(*host) for host in self._hosts]
        with _translated():
            cluster: Any = RedisCluster(startup_nodes=nodes, **options)
            try:
                await cluster.initialize()
            except BaseException:
                with contextlib.suppress(Exception):
                    await cluster.aclose()
                raise
        return _ClusterLink(cluster)

    async def ear(self) -> Ear:
        hosts = list(self._hosts)
        shuffle(hosts)
        error: Exception = BrokerUnavailableError("no node of the cluster is known")
        for host, port in hosts:
            options = {key: value for key, value in self._options.items() if key != "db"}
            self._client = Client(host=host, port=port, **options)
            try:
                return await super().ear()
            except BrokerUnavailableError as exc:
                error = exc
        raise error


def open_server(url: str) -> Server:
    """The server a URL names, without connecting; ConfigurationError when it names none."""
    try:
        return _open(url)
    except (ValueError, TypeError, exceptions.RedisError) as exc:
        raise ConfigurationError(f"cannot use the address of Redis: {exc}") from exc


def _open(url: str) -> Server:
    scheme, _, rest = url.partition("://")
    kind, _, topology = scheme.partition(_MARKER)
    if kind not in ("redis", "rediss", "unix") or topology not in ("", "sentinel", "cluster"):
        raise ValueError(
            "expected redis://, rediss://, unix://, redis+sentinel://, redis+cluster://"
        )
    if not topology:
        client = Client.from_url(url, **_common())
        client.connection_pool.make_connection()  # type: ignore[no-untyped-call] # an unknown option shows here
        return Server(client, without_secrets(url))
    authority, _, path = rest.partition("/")
    auth, at, listed = authority.rpartition("@")
    query = dict(parse_qsl(urlsplit(url).query))
    own = {
        key: query.pop(key) for key in ("sentinel_username", "sentinel_password") if key in query
    }
    sentinel = topology == "sentinel"
    hosts = [host_of(each, _SENTINEL_PORT if sentinel else _PORT) for each in listed.split(",")]
    name, _, database = path.partition("?")[0].partition("/")
    number = database if sentinel else name
    found = parse_url(f"{kind}://{auth}{at}host/{number}?{urlencode(query)}")
    ours = ("host", "port", "connection_class")
    options = {**_common(), **{key: value for key, value in found.items() if key not in ours}}
    if kind == "rediss":
        options["ssl"] = True
    if not sentinel:
        return _Cluster(hosts, options, without_secrets(url))
    if not name:
        raise ValueError("redis+sentinel:// needs the name of the master: .../mymaster")
    secure = {k: v for k, v in options.items() if k.startswith("ssl")}
    guards = {key.removeprefix("sentinel_"): value for key, value in own.items()}
    watch: Any = Sentinel(  # type: ignore[no-untyped-call] # redis-py leaves it untyped
        hosts, sentinel_kwargs={**_common(), **secure, **guards}, **options
    )
    return _Watched(watch, name, without_secrets(url))


def _common() -> dict[str, Any]:
    return {
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": None,
        "socket_connect_timeout": _CONNECT_TIMEOUT,
    }


def _judged(answer: Any) -> Any:
    if isinstance(answer, exceptions.ResponseError):
        return _refusal(answer)
    if isinstance(answer, Exception):
        raise answer
    return answer


def _refusal(error: exceptions.ResponseError) -> Exception:
    """What to make of an error that was the answer to one command."""
    if isinstance(error, exceptions.NoScriptError):
        return ScriptMissingError(str(error))
    if isinstance(error, exceptions.ReadOnlyError | exceptions.MasterDownError):
        # A master that has become a replica: the connection leads to the wrong server.
        raise BrokerUnavailableError(str(error)) from error
    return RefusedError(str(error))


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (exceptions.RedisError, OSError, EOFError) as exc:
        raise BrokerUnavailableError(f"{type(exc).__name__}: {exc}") from exc
