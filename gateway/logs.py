"""Structured logs: set up once, escaped, without secrets."""
