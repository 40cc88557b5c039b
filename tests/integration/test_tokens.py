"""Tokens before a real gateway: 401, who PHP would hear of, and the end at `exp`."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import jwt
import pytest
import websockets

from tests.phpfpm import free_port
from tests.wsgate import serve

SECRET = "a secret that is long enough for a token of HS256"


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[str]:
    port = free_port()
    file = tmp_path / "wsgate.yaml"
    file.write_text(f"""
listen: 127.0.0.1:{port}
internal: {{listen: "unix:{tmp_path}/internal.sock"}}
routes:
  - path: /ws
    events: []
    subscribe: ["user.{{user}}"]
    auth:
      required: true
      jwt: {{secret: "{SECRET}", from: [header, "query:token", subprotocol]}}
""")
    async with serve(file):
        yield f"ws://127.0.0.1:{port}/ws"


def sign(**claims: object) -> str:
    return jwt.encode({"sub": "ana", **claims}, SECRET, algorithm="HS256")


@pytest.mark.parametrize("query", ["", "?token=x.y.z", "?token=" + "e" * 4000])
async def test_without_a_valid_token_the_handshake_is_refused(gateway, query) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(gateway + query)
    response = refused.value.response
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert json.loads(response.body or b"")["error"]["type"] == "unauthorized"


async def test_what_the_token_command_signs_is_accepted_and_its_channels_may_be_joined(
    gateway,
) -> None:
    command = [sys.executable, "-m", "gateway.cli.main", "token", "--secret", SECRET]
    command += ["--user", "ana", "--channel", "room.7", "--channel", "news.*"]
    made = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True)
    token = made.stdout.decode().strip()
    client = await websockets.connect(
        gateway,
        subprotocols=["wsgate.v1.json", f"bearer.{token}"],  # type: ignore[list-item]
    )
    async with client:
        assert client.subprotocol == "wsgate.v1.json"

        async def ask(message: object) -> dict[str, object]:
            await client.send(json.dumps(message))
            answer: dict[str, object] = json.loads(await asyncio.wait_for(client.recv(), 10))
            return answer

        greeting = json.loads(await asyncio.wait_for(client.recv(), 10))
        assert greeting["connected"]["user"] == "ana"
        assert (await ask({"id": 1, "subscribe": "room.7"}))["subscribed"] == "room.7"
        assert (await ask({"id": 2, "subscribe": "news.eu"}))["subscribed"] == "news.eu"
        refused = await ask({"id": 3, "subscribe": "room.8"})
        assert refused["error"]["type"] == "forbidden"  # type: ignore[index]


async def test_a_browser_that_offers_nothing_but_its_token_gets_it_back(gateway) -> None:
    token = sign()
    client = await websockets.connect(gateway, subprotocols=[token])  # type: ignore[list-item]
    assert client.subprotocol == token
    await client.close()


async def test_when_the_token_expires_the_connection_is_closed_within_a_second(gateway) -> None:
    expires = time.time() + 1.3
    async with websockets.connect(f"{gateway}?token={sign(exp=expires)}") as client:
        await asyncio.wait_for(client.wait_closed(), 10)
        assert (client.close_code, client.close_reason) == (4401, "token expired")
        assert time.time() >= expires
