"""Connections to the servers that the gateway leans on, for brokers, sources and caches alike."""
