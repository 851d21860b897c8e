"""Where the dead letters of a queue go, and what they tell of their deaths."""

from __future__ import annotations

from typing import Final

import msgspec

from .address import (
    AddressError,
    Kind,
    escape_level,
    from_dotted,
    parse_address,
    queue_address,
    to_dotted,
)
from .message import Death, Message

_QUEUES: Final = "$queue/"


def check_dead_letter(text: str) -> str:
    """Return a dead-letter address as it is.

    It is an address; or "TOPIC/#", where each message keeps below TOPIC the levels that it was sent
    to; or "#", the same without a topic above; or "$queue/#", the queue of that name.

    Raises:
        AddressError: it is something else.
    """
    if text not in {"#", f"{_QUEUES}#"}:
        parse_address(text.removesuffix("/#"))
    return text


def grave_of(dead_letter: str, message: Message) -> str:
    """Return the address that a message goes to by a dead-letter address."""
    if not dead_letter.endswith("#"):
        return dead_letter
    root = dead_letter[:-1]
    try:
        if root == _QUEUES:
            return str(queue_address(to_dotted(_own_levels(message))))
        levels = _own_levels(message)
        return root + levels if root else from_dotted(to_dotted(levels), rooted=True)
    except AddressError:
        return root  # it had no address that could be kept


def _own_levels(message: Message) -> str:
    """Return the levels that a message was sent to, below its exchange if it came by one.

    Raises:
        AddressError: it has no address.
    """
    address = parse_address(message.address)
    if address.kind is not Kind.TOPIC:
        return from_dotted(address.name)
    if message.scope is not None:
        return message.address.removeprefix(escape_level(message.scope, rooted=True) + "/")
    return message.address


def circles(message: Message, queue: str, reason: str) -> bool:
    """Tell whether a message came round to a queue that gave it up before, with no rejection.

    RabbitMQ drops such messages, since they would circle for ever.
    """
    if reason == "rejected" or any(death.reason == "rejected" for death in message.deaths):
        return False
    return any(death.queue == queue and death.reason == reason for death in message.deaths)


def with_death(deaths: tuple[Death, ...], death: Death) -> tuple[Death, ...]:
    """Add a death in front; one of the same queue and reason is counted up, as in x-death."""
    for each in deaths:
        if (each.queue, each.reason) == (death.queue, death.reason):
            rest = tuple(other for other in deaths if other is not each)
            return (msgspec.structs.replace(death, count=each.count + 1), *rest)
    return (death, *deaths)
