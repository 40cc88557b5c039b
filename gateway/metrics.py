"""The numbers wsgate publishes."""
