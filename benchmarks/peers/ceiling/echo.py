"""A picows echo server: what the load generator reaches when the server costs next to nothing."""

import asyncio
import sys

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server


class Echo(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_bytes())


def accept(request: WSUpgradeRequest) -> WSListener:
    del request
    return Echo()


async def serve(port: int) -> None:
    server = await ws_create_server(accept, "127.0.0.1", port, backlog=4096)
    async with server:
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
