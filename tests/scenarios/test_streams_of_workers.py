"""Event streams of two worker processes: a reader may come back to either."""

import asyncio
from pathlib import Path

import aiohttp

from tests.downstream import Stream
from tests.wsgate import serve


async def test_a_stream_goes_on_in_another_worker(tmp_path: Path, unused_tcp_port_factory) -> None:
    port, internal = unused_tcp_port_factory(), unused_tcp_port_factory()
    file = tmp_path / "wsgate.yaml"
    file.write_text(f"""
listen: 127.0.0.1:{port}
internal: {{listen: "127.0.0.1:{internal}"}}
workers: 2
routes:
  - path: /news/{{name}}
    events: []
    subscribe: ["news.{{name}}"]
    transports: [sse, longpoll]
channels:
  - {{match: "news.*", history: {{size: 50, ttl: 1h}}}}
shutdown: {{timeout: 2s, spread: 0s}}
""")
    async with serve(file), aiohttp.ClientSession(f"http://127.0.0.1:{internal}") as api:

        async def publish(text: str) -> int:
            async with api.post("/channels/news.a", data=text) as answer:
                return int((await answer.json())["subscribers"])

        streams = [await (await Stream.open(port, "/news/a")).placed() for _ in range(8)]
        assert await publish("one") == len(streams)
        for stream in streams:
            assert await stream.data(1) == ["one"]
            stream.close()
        async with asyncio.timeout(20):
            while await publish("two"):  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)
        # Wherever they were before: the kernel chooses the worker anew.
        for stream in streams:
            again = await Stream.open(port, "/news/a", stream.last_id)
            assert await again.data(1) == ["two"]
            again.close()
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as public:
            headers = {"If-None-Match": f'"{streams[0].last_id}"'}
            for _ in range(4):
                async with public.get("/news/a", headers=headers) as answer:
                    assert (answer.status, await answer.text()) == (200, "two")
