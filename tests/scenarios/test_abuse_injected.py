"""A mistake anywhere in our own code costs the connection it happens to, and is told once."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

import pytest
import structlog
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.inprocess import Gateway, ask

Start = Callable[..., Awaitable[Gateway]]

POINTS = [
    "gateway.server.reception:Reception._admit",
    "gateway.server.reception:begin",
    "gateway.server.reception:complete",
    "gateway.transports.front:describe",
    "gateway.transports.upgrade:WebSocket",
    "gateway.transports.handshake:encode_acceptance",
    "gateway.transports.guard:FrameGuard.feed",
    "gateway.transports.websocket:WebSocket._on_control",
    "gateway.sessions.session:Session.attach",
    "gateway.sessions.session:Session.on_message",
    "gateway.sessions.session:Session.on_activity",
    "gateway.sessions.session:Session.farewell",
    "gateway.sessions.raw:RawWire.connected",
    "gateway.sessions.raw:RawWire.receive",
    "gateway.sessions.raw:RawWire.reply",
    "gateway.sessions.raw:RawWire.failure",
    "gateway.sessions.raw:RawWire.publication",
    "gateway.sessions.turns:Turns._conclude",
    "gateway.sessions.turns:Turns._start",
    "gateway.sessions.turns:Turns._obey",
    "gateway.sessions.turns:Turns._turn",
    "gateway.sessions.turns:head_of",
    "gateway.sessions.turns:message_block",
    "gateway.sessions.effects:Performance._run",
    "gateway.sessions.effects:Performance._do",
    "gateway.sessions.effects:Performance._publish",
    "gateway.sessions.effects:Performance._move",
    "gateway.sessions.effects:join",
    "gateway.sessions.identity:Identity.set_meta",
    "gateway.sessions.identity:Identity.remember_cookies",
    "gateway.sessions.keepalive:Keepalive.watch",
    "gateway.sessions.farewell:Farewell.promise",
    "gateway.sessions.farewell:Farewell.add",
    "gateway.backend.target:Target.submit",
    "gateway.backend.target:Target.answered",
    "gateway.channels.service:ChannelService.join",
    "gateway.channels.publishing:Publisher.post",
    "gateway.channels.service:ChannelService.leave_all",
]

LIFE = [
    "echo 1;",
    "setcookie('a', 'b'); header('WS-Meta-A: b'); echo 2;",
    "header('WS-Subscribe: news'); echo 3;",
    "header('WS-Publish: news'); echo 'published';",
    "http_response_code(500);",
]


class InjectedError(Exception):
    """Nobody expects it."""


async def live(gateway: Gateway) -> list[str]:
    """Do everything that passes the points; what became of it."""
    heard: list[str] = []
    try:
        async with asyncio.timeout(3):
            async with gateway.connect(on_connect="echo 'welcome';") as client:
                heard.append(str(await client.recv()))
                await (await client.ping())
                for code in LIFE:
                    await client.send(code)
                    heard.append(str(await client.recv()))
            heard.append(f"closed {client.close_code}")
    except ConnectionClosed as ended:
        heard.append(f"closed {ended.rcvd.code if ended.rcvd else 1006}")
    except InvalidHandshake as refused:
        heard.append(f"refused {refused}")
    except (TimeoutError, OSError, EOFError) as exc:
        heard.append(repr(exc))
    return heard


@pytest.mark.parametrize("point", POINTS)
async def test_a_mistake_of_ours_costs_one_connection(
    start: Start, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """Fault 70."""
    module, _, path = point.partition(":")
    owner: Any = import_module(module)
    *way, name = path.split(".")
    for step in way:
        owner = getattr(owner, step)
    whole = getattr(owner, name)
    raised = 0
    told: list[dict[str, Any]] = []

    def once(*arguments: Any, **options: Any) -> Any:
        nonlocal raised
        if not raised:
            raised += 1
            raise InjectedError(point)
        return whole(*arguments, **options)

    gateway = await start()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context))
    async with gateway.connect() as bystander:
        assert await ask(bystander, "echo 'here';") == "here"
        monkeypatch.setattr(owner, name, once)
        with structlog.testing.capture_logs() as logs:
            heard = await live(gateway)
            await gateway.until(lambda: len(gateway.worker.services.directory) == 1)
            await asyncio.sleep(0.05)
        assert raised == 1, heard
        tracebacks = [line for line in logs if line.get("exc_info")] + told
        assert len(tracebacks) == 1, (heard, logs, told)
        outcome = heard[-1]
        assert outcome in {"closed 1011", "closed 1000"} or "HTTP 50" in outcome, heard
        assert await ask(bystander, "echo 'still';") == "still"
        assert (await live(gateway))[-1] == "closed 1000"
        await gateway.until(lambda: len(gateway.worker.services.directory) == 1)
        await gateway.until(lambda: not gateway.pool.busy)
    with contextlib.suppress(KeyError):
        assert gateway.worker.services.directory.addresses["127.0.0.1"] <= 1
