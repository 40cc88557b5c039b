"""Channels: publications, history, presence, subscriptions and the service in front of them."""
