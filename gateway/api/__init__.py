"""The internal listener: channels, connections, push relay, health, metrics, status.

`create_api` makes the application; the calls and their answers are described in docs/api.md.
Handlers decide nothing about channels or connections: they read, ask, and show.
"""

from .app import create_api, replace_services
from .services import ApiServices, Connections

__all__ = ["ApiServices", "Connections", "create_api", "replace_services"]
