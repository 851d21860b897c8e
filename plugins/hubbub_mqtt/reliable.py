"""The filter kind `mqtt`: which messages of a topic go into a session's queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hubbub import Message

from .mapping import came_by_mqtt


def is_reliable(message: Message) -> bool:
    """Whether a message is of QoS 1 or 2."""
    return message.qos > 0


def is_unreliable(message: Message) -> bool:
    """Whether a message is of QoS 0."""
    return message.qos == 0


def make_filter(spec: Any) -> Callable[[Message], bool]:
    """Compile `{"qos": 1, "not_from": CLIENT}`, both optional.

    `qos`: the least one; `not_from`: the client whose own messages are left out (No Local).

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(spec, dict) or not spec.keys() <= {"qos", "not_from"}:
        raise ValueError('a filter "mqtt" has the keys "qos" and "not_from"')
    qos, client = spec.get("qos", 0), spec.get("not_from")
    if qos not in {0, 1, 2} or not isinstance(client, str | None):
        raise ValueError('"qos" is 0, 1 or 2, and "not_from" a client identifier')
    if client is None and qos == 1:
        return is_reliable  # the same object for all, so that they share their batches

    def accepts(message: Message) -> bool:
        return message.qos >= qos and not (message.client == client and came_by_mqtt(message))

    return accepts
