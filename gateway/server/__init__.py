"""Composition: listeners, worker, supervisor, drain and reload."""
