"""The queues that headers of STOMP ask for: their settings, and their names."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Final, Literal

from hubbub import QueueSettings, StreamSettings, escape_level, parse_age, queue_address

from .destinations import ROOT_EXCHANGE, Destination, Place, check_queue
from .errors import StompError, unsupported

_OVERFLOW: Final[Mapping[str, Literal["drop-head", "reject", "reject-dead-letter"]]] = {
    "drop-head": "drop-head",
    "reject-publish": "reject",
    "reject-publish-dlx": "reject-dead-letter",
}


def queue_settings(
    headers: Mapping[str, str], *, durable: bool = True, auto_delete: bool = False,
    max_length: int | None = None,
) -> QueueSettings:  # fmt: skip
    """Read the settings of a queue that is to be created; the arguments are the defaults.

    Raises:
        StompError: a header is not what it must be.
    """
    if headers.get("x-queue-type", "classic") not in {"classic", "quorum"}:
        raise unsupported(
            f"x-queue-type '{headers['x-queue-type']}': a stream is spelled '/stream/NAME'"
        )
    overflow = headers.get("x-overflow", "drop-head")
    if overflow not in _OVERFLOW:
        raise StompError("Invalid header", f"\"x-overflow\" must not be '{overflow}'\n")
    length = _number(headers, "x-max-length")
    return QueueSettings(
        durable=_flag(headers, "durable", durable),
        auto_delete=_flag(headers, "auto-delete", auto_delete),
        message_ttl=_number(headers, "x-message-ttl"),
        expires=_number(headers, "x-expires"),
        max_length=max_length if length is None else length,
        max_bytes=_number(headers, "x-max-length-bytes"),
        overflow=_OVERFLOW[overflow],
        dead_letter=_dead_letter(headers),
        priorities=min(_number(headers, "x-max-priority") or 0, 255),
    )


def wants_stream(headers: Mapping[str, str]) -> bool:
    """Whether what is named like a queue is to be a stream."""
    return headers.get("x-queue-type") == "stream"


def stream_settings(headers: Mapping[str, str]) -> StreamSettings:
    """Read the settings of a stream that is to be created.

    Raises:
        StompError: a header is not what it must be.
    """
    retention = None
    if (age := headers.get("x-max-age")) is not None:
        seconds = parse_age(age)
        if seconds is None:
            raise StompError("Invalid header", f"\"x-max-age\" must be like 7D, not '{age[:80]}'\n")
        retention = seconds * 1000
    return StreamSettings(
        retention=retention or None, max_bytes=_number(headers, "x-max-length-bytes") or None
    )


def _dead_letter(headers: Mapping[str, str]) -> str | None:
    exchange = headers.get("x-dead-letter-exchange")
    key = headers.get("x-dead-letter-routing-key")
    if exchange is None:
        return None
    if key is None:  # each by the routing key that it has
        if exchange == ROOT_EXCHANGE:
            return "#"
        return f"{escape_level(exchange, rooted=True)}/#" if exchange else "$queue/#"
    if not exchange:
        return str(queue_address(check_queue(key)))
    if exchange == ROOT_EXCHANGE:
        return Destination("", Place.TOPIC, "", key).address()
    return Destination("", Place.EXCHANGE, exchange, key).address()


def _flag(headers: Mapping[str, str], name: str, default: bool) -> bool:
    text = headers.get(name)
    return default if text is None else text == "true"


def _number(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise StompError("Invalid header", f"\"{name}\" must be a number, not '{text[:80]}'\n")
    return int(text)


def prefetch(headers: Mapping[str, str], most: int) -> int:
    """Return how many messages may wait for their ACK; none asked for, or 0: the most."""
    for name in ("prefetch-count", "activemq.prefetchSize"):
        wanted = _number(headers, name)
        if wanted is not None:
            return min(wanted, most) or most
    return most


def is_durable(headers: Mapping[str, str]) -> bool:
    """Whether a subscription to a topic outlives its connection."""
    return (
        headers.get("durable") == "true"
        or headers.get("persistent") == "true"
        or _subscription_name(headers) is not None
    )


def subscription_queue(headers: Mapping[str, str], client_id: str | None, principal: str) -> str:
    """Name the queue of a durable subscription: the same for the same client, over restarts.

    Raises:
        StompError: the headers do not say enough to find it again.
    """
    if (named := headers.get("x-queue-name")) is not None:
        return check_queue(named)
    name = _subscription_name(headers)
    if name is not None and client_id is None:
        raise StompError(
            "Missing header", 'A durable subscription needs the header "client-id" in CONNECT\n'
        )
    id_ = name or headers.get("id")
    if id_ is None:
        raise StompError("Missing Header", "Header 'id' is required for durable subscriptions")
    identity = "\0".join(("name" if name else "id", principal, client_id or "", id_))
    digest = hashlib.sha256(identity.encode()).digest()[:15]
    return f"stomp-subscription-{base64.urlsafe_b64encode(digest).decode()}"


def _subscription_name(headers: Mapping[str, str]) -> str | None:
    return headers.get("activemq.subscriptionName") or headers.get("durable-subscription-name")
