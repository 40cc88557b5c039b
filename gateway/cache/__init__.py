"""Where cached replies live: memory, memcached, Redis."""
