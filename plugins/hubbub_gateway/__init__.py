"""REST, Server-Sent Events and WebSocket on the bus: see docs/protocols/http.md."""

from .plugin import GatewayPlugin

__all__ = ["GatewayPlugin"]
