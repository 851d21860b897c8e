"""The route table: every operation of the API."""

from __future__ import annotations

from typing import Final

from .api import messages
from .operations import Operation
from .websocket.api import OPERATIONS as WEBSOCKET

OPERATIONS: Final[tuple[Operation, ...]] = (*messages.OPERATIONS, *WEBSOCKET)
