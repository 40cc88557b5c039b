"""The load generator against next to nothing."""
