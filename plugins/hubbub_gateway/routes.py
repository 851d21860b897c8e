"""The route table: every operation of the API."""

from __future__ import annotations

from typing import Final

from .api import documents, leases, messages, queues, streams, subscriptions, topics
from .operations import Operation
from .websocket.api import OPERATIONS as WEBSOCKET

OPERATIONS: Final[tuple[Operation, ...]] = (
    *queues.OPERATIONS,
    *messages.OPERATIONS,
    *leases.OPERATIONS,
    *topics.OPERATIONS,
    *subscriptions.OPERATIONS,
    *streams.OPERATIONS,
    *WEBSOCKET,
    *documents.OPERATIONS,
)
