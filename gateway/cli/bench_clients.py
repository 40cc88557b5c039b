"""Sockets for `wsgate bench`: picows where it is installed, else aiohttp, which always is."""

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final, Protocol

import aiohttp

Headers = Sequence[tuple[str, str]]
PATIENCE: Final = 10.0  # seconds for one handshake


class OpenError(Exception):
    """A socket could not be opened; `kind` is a short name to count by."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Receiver(Protocol):
    """Whoever is told what comes on a socket. Called from the event loop, must not wait."""

    def on_frame(self, body: bytes) -> None:
        """A whole text or binary message."""

    def on_close(self, code: int) -> None:
        """The other side has closed, or is gone (1006). Called once."""


class Socket(Protocol):
    """An open WebSocket."""

    async def send(self, payload: bytes) -> None:
        """Send one text frame; nothing happens on a socket that is closed."""

    async def close(self) -> None:
        """Close without another call to the receiver."""


class Opener(Protocol):
    """Where sockets come from; `name` tells readers which client made the load."""

    name: str

    async def open(self, url: str, headers: Headers, receiver: Receiver) -> Socket:
        """An open socket, or OpenError."""

    async def close(self) -> None:
        """Release what the sockets shared."""


def opener() -> Opener:
    """The quickest client on this machine."""
    return PicowsOpener() if find_spec("picows") else AiohttpOpener()


class AiohttpOpener:
    """aiohttp's client; one task a socket reads."""

    def __init__(self) -> None:
        self.name = "aiohttp"
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def open(self, url: str, headers: Headers, receiver: Receiver) -> Socket:
        """An open socket, or OpenError."""
        try:
            async with asyncio.timeout(PATIENCE):
                socket = await self._session.ws_connect(url, headers=list(headers), max_msg_size=0)
        except TimeoutError:
            raise OpenError("handshake: no answer") from None
        except aiohttp.WSServerHandshakeError as exc:
            raise OpenError(f"handshake: {exc.status}") from exc
        except (aiohttp.ClientError, ssl.SSLError, OSError, ValueError) as exc:
            raise OpenError(f"connect: {_cause(exc)}") from exc
        return _AiohttpSocket(socket, receiver)

    async def close(self) -> None:
        """Release the session."""
        await self._session.close()


class _AiohttpSocket:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse, receiver: Receiver) -> None:
        self._socket = socket
        self._receiver = receiver
        self._reading = asyncio.create_task(self._read(), name="bench socket")

    async def send(self, payload: bytes) -> None:
        with contextlib.suppress(aiohttp.ClientError, OSError):
            await self._socket.send_frame(payload, aiohttp.WSMsgType.TEXT)

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with asyncio.timeout(2):
                await self._socket.close()

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                self._receiver.on_frame(message.data.encode())
            elif message.type is aiohttp.WSMsgType.BINARY:
                self._receiver.on_frame(message.data)
        self._receiver.on_close(self._socket.close_code or 1006)


class PicowsOpener:
    """picows' client: a third of the CPU, so more load from one machine."""

    def __init__(self) -> None:
        from picows import WSListener, WSMsgType  # noqa: PLC0415 - an extra, not always there

        class Listener(WSListener):
            """Hands on whole messages; fragments are put together."""

            def __init__(self, receiver: Receiver) -> None:
                self._receiver: Receiver | None = receiver
                self._parts: list[bytes] = []
                self._code = 1006

            def on_ws_frame(self, transport: object, frame: object) -> None:
                """One frame has come."""
                kind = frame.msg_type  # type: ignore[attr-defined]  # picows types its own frame
                if kind is WSMsgType.CLOSE:
                    self._code = int(frame.get_close_code().value)  # type: ignore[attr-defined]
                    transport.disconnect()  # type: ignore[attr-defined]
                elif kind in {WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION}:
                    self._parts.append(frame.get_payload_as_bytes())  # type: ignore[attr-defined]
                    if frame.fin and self._receiver is not None:  # type: ignore[attr-defined]
                        parts, self._parts = self._parts, []
                        self._receiver.on_frame(parts[0] if len(parts) == 1 else b"".join(parts))

            def on_ws_disconnected(self, transport: object) -> None:
                """The other side has gone."""
                del transport
                if self._receiver is not None:
                    self._receiver.on_close(self._code or 1005)

            def forget(self) -> None:
                """Nothing is handed on any more."""
                self._receiver = None

        self.name = "picows"
        self._listener = Listener

    async def open(self, url: str, headers: Headers, receiver: Receiver) -> Socket:
        """An open socket, or OpenError."""
        import picows  # noqa: PLC0415 - an extra, not always there

        listener = self._listener(receiver)
        try:
            transport, _ = await picows.ws_connect(
                lambda: listener,
                url,
                websocket_handshake_timeout=PATIENCE,
                extra_headers=list(headers),
                max_frame_size=64 * 1024 * 1024,
                read_buffer_init_size=4096,
            )
        except TimeoutError:
            raise OpenError("handshake: no answer") from None
        except picows.WSInvalidStatusError as exc:
            status = exc.response.status if exc.response else "no status"
            raise OpenError(f"handshake: {getattr(status, 'value', status)}") from exc
        except picows.WSError as exc:
            raise OpenError("handshake: not a WebSocket answer") from exc
        except (ssl.SSLError, OSError, ValueError) as exc:
            raise OpenError(f"connect: {_cause(exc)}") from exc
        return _PicowsSocket(transport, listener.forget, picows.WSMsgType.TEXT)

    async def close(self) -> None:
        """Nothing is shared."""


class _PicowsSocket:
    def __init__(self, transport: object, forget: object, text: object) -> None:
        self._transport = transport
        self._forget = forget
        self._text = text

    async def send(self, payload: bytes) -> None:
        self._transport.send(self._text, payload)  # type: ignore[attr-defined]

    async def close(self) -> None:
        self._forget()  # type: ignore[operator]
        self._transport.send_close()  # type: ignore[attr-defined]
        self._transport.disconnect()  # type: ignore[attr-defined]


def _cause(exc: Exception) -> str:
    """A short name for what stopped a connect: the system's words where it has some."""
    inner = exc.os_error if isinstance(exc, aiohttp.ClientConnectorError) else exc
    if isinstance(inner, ConnectionRefusedError):
        return "refused"
    return (getattr(inner, "strerror", None) or type(inner).__name__).lower()
