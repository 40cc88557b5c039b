"""A bare aiohttp and uvloop loop before php-fpm: the yardstick of what Python costs at least.

No limits, no errors, no push, no settings: what a person would write in an hour.
"""

import asyncio
import sys

import uvloop
from aiohttp import WSMsgType, web

from benchmarks.peers.bare.fastcgi import Pool, environment


def application(pool: Pool, root: str) -> web.Application:
    async def gateway(request: web.Request) -> web.WebSocketResponse:
        loop = asyncio.get_running_loop()
        socket = web.WebSocketResponse(max_msg_size=2 * 1024 * 1024, compress=False)
        await socket.prepare(request)
        params = environment(root, f"{request.path}.php")
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                answer: asyncio.Future[bytes | None] = loop.create_future()
                pool.request(params, message.data.encode(), answer.set_result)
                body = await answer
                if body is None:
                    body = b'{"error":{"code":502,"type":"upstream_error"}}'
                await socket.send_frame(body, WSMsgType.TEXT)
        return socket

    app = web.Application()
    app.router.add_get("/{script:.*}", gateway)
    return app


def main() -> None:
    port, socket, root, kept = sys.argv[1:]

    async def run() -> None:
        runner = web.AppRunner(application(Pool(socket, int(kept)), root), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", int(port), backlog=4096).start()
        await asyncio.Event().wait()

    uvloop.run(run())


if __name__ == "__main__":
    main()
