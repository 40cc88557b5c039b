"""Publications that others make: Redis and PostgreSQL."""
