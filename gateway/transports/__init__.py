"""How a client is reached: handshake, WebSocket, server-sent events, long poll."""
