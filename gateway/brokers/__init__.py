"""Where channels live: memory, hub, Redis, NATS."""
