"""Which route and which rule a handshake or a frame belongs to."""
