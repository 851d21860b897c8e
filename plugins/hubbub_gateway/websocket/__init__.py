"""The WebSocket API: the subprotocol `hubbub.v1`."""

from .broker import Broker
from .frames import SUBPROTOCOL
from .handshake import PATH, token_offered

__all__ = ["PATH", "SUBPROTOCOL", "Broker", "token_offered"]
