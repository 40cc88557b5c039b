"""An application under a test's control: it accepts, reads and answers only when told to."""

import asyncio
import contextlib
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Self

from fastcgi.address import TcpAddress, UnixAddress
from fastcgi.responder import Request, RequestReader, encode_answer

HEAD = b"Content-type: text/plain\r\n\r\n"


def answer(body: bytes) -> bytes:
    """A whole answer with this body."""
    return encode_answer(HEAD + body)


class Peer:
    """One accepted connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._reader = RequestReader()
        self._loop = asyncio.get_running_loop()

    async def request(self) -> Request:
        """Read until a request is complete."""
        while True:
            async with asyncio.timeout(10):
                data = await self._loop.sock_recv(self.sock, 65536)
            assert data, "the client ended the connection"
            requests = self._reader.feed(data)
            if requests:
                return requests[0]

    async def send(self, data: bytes) -> None:
        async with asyncio.timeout(10):
            await self._loop.sock_sendall(self.sock, data)

    async def answer(self, body: bytes) -> Request:
        """Read a request and answer it."""
        request = await self.request()
        await self.send(answer(body))
        return request

    async def ended(self) -> bytes:
        """What still comes until the client closes its side."""
        rest = b""
        with contextlib.suppress(ConnectionResetError):
            while data := await asyncio.wait_for(self._loop.sock_recv(self.sock, 65536), 10):
                rest += data
        return rest

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()


class Application:
    """A listening socket; everything it accepted is closed with it."""

    def __init__(self, *, tcp: bool = False, backlog: int = 100) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="wsgate-peer-"))
        self._peers: list[Peer] = []
        self.listener = socket.socket(socket.AF_INET if tcp else socket.AF_UNIX)
        self.listener.setblocking(False)
        self.address: TcpAddress | UnixAddress
        if tcp:
            self.listener.bind(("127.0.0.1", 0))
            self.address = TcpAddress("127.0.0.1", self.listener.getsockname()[1])
        else:
            self.address = UnixAddress(str(self._folder / "peer.sock"))
            self.listener.bind(self.address.path)
        self.listener.listen(backlog)

    async def accept(self) -> Peer:
        async with asyncio.timeout(10):
            sock, _ = await asyncio.get_running_loop().sock_accept(self.listener)
        sock.setblocking(False)
        peer = Peer(sock)
        self._peers.append(peer)
        return peer

    def stop_listening(self) -> None:
        self.listener.close()
        if isinstance(self.address, UnixAddress):
            Path(self.address.path).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()
        for peer in self._peers:
            peer.close()
        shutil.rmtree(self._folder)
