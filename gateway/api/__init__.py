"""The internal listener: channels, connections, push relay, health, metrics, status."""
