"""One process that serves: its listeners, its sessions, its channels, its pools.

`start`, then `reload` any number of times, then `stop`. A worker is handed sockets that are bound
already and a broker that is not started; it closes neither's surroundings, only what it opened.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Sequence
from typing import Final

import structlog
from aiohttp import web

from gateway.api.app import create_api, replace_services
from gateway.api.express import Express
from gateway.api.services import ApiServices, Readiness
from gateway.backend.target import Target
from gateway.channels.broker import Broker
from gateway.channels.policy import Authorization
from gateway.channels.service import ChannelService
from gateway.clock import Clock, SystemClock
from gateway.codes import CloseCode
from gateway.config.model import Config
from gateway.metrics import Metrics
from gateway.sessions.connections import Connections
from gateway.sessions.farewell import Farewell
from gateway.sessions.joining import PhpAuthorizer
from gateway.sessions.services import Services
from gateway.sessions.session import Session
from gateway.tasks import TaskSet
from gateway.transports.commons import Timing
from gateway.transports.front import Entrance
from gateway.transports.proxies import TrustedProxies
from gateway.transports.securing import SecureListener
from gateway.transports.threshold import Threshold

from .accounts import VERSION, Accounts
from .company import Company
from .drain import drain
from .lag import Lag
from .leases import Leases
from .listeners import BACKLOG, push_base
from .public import Extend, create_public
from .reception import Reception
from .runtime import Runtime
from .sources import Sources
from .tls import tls_context

log = structlog.get_logger()

_BEAT: Final = 1.0
_LAST_TURNS: Final = 0.1


class Worker:
    """See the module's docstring."""

    def __init__(
        self,
        config: Config,
        broker: Broker,
        *,
        clock: Clock | None = None,
        extend: Extend | None = None,
        company: Company | None = None,
    ) -> None:
        self.config = config
        self.metrics = Metrics(VERSION)
        self._accounts = Accounts(self.metrics, broker, company)
        self.draining = False
        self._clock = clock or SystemClock()
        self._extend = extend
        self._broker = broker
        self._company = company
        self._leases = Leases() if company is None else company.leases
        self._tls: ssl.SSLContext | None = None
        self._background = TaskSet()
        self._public: list[asyncio.Server | SecureListener] = []
        self._internal: list[asyncio.Server] = []
        self._runners: list[web.AppRunner] = []

    async def start(
        self, public: Sequence[socket.socket], internal: Sequence[socket.socket]
    ) -> None:
        """Serve on the sockets; when it returns, clients are answered.

        Raises ConfigurationError when the certificate cannot be used; then nothing was started.
        """
        self._tls = tls_context(self.config)
        self.runtime = Runtime(self.config, self.metrics)
        self.channels = ChannelService(
            self._broker,
            self.runtime.policies,
            authorizer=PhpAuthorizer(self._authorizer),
        )
        self.services = Services(
            self._clock,
            self.channels,
            self.metrics,
            Farewell(_rate(self.config), self._company),
            push_base=push_base(self.config.internal.listen),
            show_details=self.config.log.level == "debug",
        )
        self.connections = Connections(self.channels, self.services.directory)
        self.channels.answer = self.connections.answer
        self._accounts.watch(self.channels, self.runtime.upstreams)
        if self._company is not None:
            self._company.join(self)
        self._leases.serve(self.runtime.upstreams)
        await self.channels.start()
        self._sources = Sources(self.config, self.channels)
        self._sources.watch(self.metrics)
        self._sources.start()
        self._background.spawn(self.services.farewell.run(), name="disconnect events")
        self._background.spawn(self._beat(), name="sweep")
        await self._listen(public, internal)

    async def _listen(
        self,
        public: Sequence[socket.socket],
        internal: Sequence[socket.socket],
    ) -> None:
        loop = asyncio.get_running_loop()
        entries = None if self._company is None else self._company.entries
        reception = Reception(self.services, lambda: self.runtime, entries)
        public_app = create_public(reception, self._extend, lambda: self.entrance)
        # A poll that its client gives up must end then, not when its wait is over.
        plain = web.AppRunner(public_app, access_log=None, handler_cancellation=True)
        self.api = create_api(self._api_services())
        api = web.AppRunner(self.api, access_log=None)
        for runner in (plain, api):
            await runner.setup()
            self._runners.append(runner)
        self.entrance = Entrance(
            doorman=reception,
            plain=plain.server,  # type: ignore[arg-type] # aiohttp types it as optional
            clock=self._clock,
            timing=Timing(handshake=self.config.client.handshake_timeout),
            proxies=TrustedProxies(str(network) for network in self.config.trusted_proxies),
        )
        for listener in public:
            self._public.append(await self._listen_for_clients(listener))
        self._express = Express(api.server, self.api)  # type: ignore[arg-type] # as above
        threshold = Threshold(self._express)
        for listener in internal:
            server = await loop.create_server(threshold, sock=listener, backlog=BACKLOG)
            self._internal.append(server)

    async def _listen_for_clients(self, listener: socket.socket) -> asyncio.Server | SecureListener:
        if self._tls is not None:
            seconds = self.config.client.handshake_timeout
            return SecureListener(
                listener, self.entrance, self._tls, timeout=seconds, tasks=self._background
            )
        loop = asyncio.get_running_loop()
        return await loop.create_server(self.entrance, sock=listener, backlog=BACKLOG)

    async def reload(self, config: Config) -> None:
        """Serve by another configuration from now on; no connection is dropped for it.

        Raises ConfigurationError when the certificate cannot be used; then nothing has changed.
        """
        tls_context(config)
        runtime = Runtime(config, self.metrics, self.runtime)
        before, self.runtime, self.config = self.runtime, runtime, config
        runtime.take_over()
        if self._tls is not None and config.tls is not None:
            # The context is that of the listeners: whoever comes next gets the new certificate.
            self._tls.load_cert_chain(config.tls.certificate, config.tls.key)
        self.entrance.proxies = TrustedProxies(map(str, config.trusted_proxies))
        self.entrance.commons.heads.seconds = config.client.handshake_timeout
        self.channels.policies = runtime.policies
        self.services.show_details = config.log.level == "debug"
        self.services.farewell.rate = _rate(config)
        services = self.services
        for session in (*services.directory, *services.directory.lingering):
            self._rebind(session)
        for departed in services.farewell.waiting:
            route = runtime.named(departed.route.name)
            if route is not None:
                departed.rebind(route)
        replace_services(self.api, self._api_services())
        self._leases.serve(runtime.upstreams)
        for name in before.config.upstreams.keys() - config.upstreams.keys():
            self.metrics.forget_pool(name)
        for name in set(before.routes) - set(runtime.routes):
            self.metrics.forget_route(name)
        self._accounts.watch(self.channels, self.runtime.upstreams)
        if self._company is not None:
            self._company.entries.announce()
        self._background.spawn(
            before.close(config.shutdown.timeout, successor=runtime), name="closing replaced pools"
        )

    def _rebind(self, session: Session) -> None:
        route = self.runtime.named(session.route.name)
        if route is not None:
            session.rebind(route)
            self.services.farewell.promise(session)
        else:
            # Its pool goes away with its route; whoever comes back hears 404.
            session.retire(CloseCode.SERVICE_RESTART, "the route is gone")

    async def stop(self, hurry: asyncio.Event | None = None) -> None:
        """Drain and end; `hurry` skips what is still waited for. Idempotent."""
        if self.draining:
            return
        self.draining = True
        self.entrance.drain()
        for server in self._public:
            server.close()
        with contextlib.suppress(TimeoutError):
            await drain(self, self.config.shutdown, hurry or asyncio.Event())
        await self._end()

    async def _end(self) -> None:
        for session in self.services.directory:
            session.vanished()
        # The sockets tell of their end in the loop's next turns.
        await self.services.directory.emptied(_LAST_TURNS)
        await self._background.close()
        await self._sources.stop()
        await self.services.tasks.close()
        await self.services.leaving.close()
        self._leases.stop()
        await self.runtime.close(0.0)
        for server in self._internal:
            server.close()
        self._express.close()
        for runner in self._runners:
            await runner.cleanup()
        self.entrance.close()
        await self.channels.stop()

    @property
    def readiness(self) -> Readiness:
        """Whether the gateway can serve, and if not, why."""
        reasons = []
        if self.draining:
            reasons.append("shutting down")
        if not self.channels.ready:
            reasons.append("the broker cannot be reached")
        if self._company is not None:
            reasons.extend(self._company.reasons)
        return Readiness(reasons, self._sources.degraded)

    def _api_services(self) -> ApiServices:
        internal = self.config.internal
        return ApiServices(
            channels=self.channels,
            connections=self.connections,
            readiness=lambda: self.readiness,
            status=self._status,
            numbers=self._accounts.numbers,
            api_key=internal.api_key,
            max_body=internal.max_body,
        )

    async def _status(self) -> dict[str, object]:
        return await self._accounts.status(
            ready=self.readiness.ready,
            routes=list(self.runtime.routes),
            broker=self.config.broker.type,
        )

    def _authorizer(self, authorization: Authorization) -> Target:
        return self.runtime.authorizer(authorization)

    async def _beat(self) -> None:
        """What nobody has a timer of its own for."""
        lag = Lag()
        try:
            while True:
                await asyncio.sleep(_BEAT)
                lag.tell()
                try:
                    self.services.keepalive.sweep(self.services.now())
                    self.runtime.expire(asyncio.get_running_loop().time())
                except Exception:
                    log.exception("sweep failed")
        finally:
            lag.stop()


def _rate(config: Config) -> float | None:
    rate = config.client.disconnect_rate
    return None if rate is None else rate.per_second
