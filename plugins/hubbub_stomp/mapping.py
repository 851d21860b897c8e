"""Messages of the bus as frames, and the other way round (see docs/protocols/stomp.md).

A message that came by STOMP keeps its headers as they were encoded, so that they reach another
STOMP client as they are and need not be encoded again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, TypeAlias

import msgspec

from hubbub import AddressError, HeaderValue, Message, Wire

from .destinations import ROOT_EXCHANGE, parse_destination, spell
from .encode import encode_headers, encode_message_tail
from .errors import StompError
from .frames import Version, unescape

PROTOCOLS: Final = {version: f"stomp-{version.value}" for version in Version}
"""The name of each version, as messages and metrics have it."""

_WIRE: Final = "stomp"
_SECONDS_BELOW: Final = 100_000_000_000
"""A `timestamp` below is in seconds, as RabbitMQ's; above in milliseconds, as ActiveMQ's."""

_FIELDS: Final = frozenset(
    {"content-type", "content-encoding", "correlation-id", "reply-to", "type", "app-id", "user-id",
     "amqp-message-id", "timestamp", "priority", "persistent", "expires", "expiration",
     "JMSXGroupID", "AMQ_SCHEDULED_DELAY", "hubbub.deduplication-id"}
)  # fmt: skip
"""Headers that are fields of a message."""

_OURS: Final = frozenset(
    {"destination", "receipt", "transaction", "content-length", "subscription", "message-id",
     "redelivered", "ack", "x-delivery-count", "x-death", "x-first-death-queue",
     "x-first-death-reason", "x-first-death-exchange"}
)  # fmt: skip
"""Headers that are about the frame, or that only the server may set."""

_QUEUE_ARGUMENTS: Final = frozenset(
    {"durable", "auto-delete", "exclusive", "x-message-ttl", "x-expires", "x-max-length",
     "x-max-length-bytes", "x-overflow", "x-dead-letter-exchange", "x-dead-letter-routing-key",
     "x-max-priority", "x-queue-type"}
)  # fmt: skip
"""Headers of SEND that say how to create its queue, and are no part of the message."""

Lossy: TypeAlias = Callable[[str], None]
"""Counts a field that could not be carried."""


class Outgoing:
    """What all SEND frames with the same headers have in common."""

    __slots__ = ("_copy", "_lives", "_prototype", "queue", "scope", "stream")

    def __init__(
        self,
        headers: Mapping[str, str],
        address: str,
        scope: str | None,
        *,
        reply_to: str | None = None,
    ) -> None:
        """Read the headers; `reply_to` takes the place of the client's, if it is not None.

        Raises:
            StompError: a header is not what it must be.
        """
        if "transformation" in headers:
            raise StompError(
                "Not supported",
                f"transformation '{headers['transformation']}': bodies are passed on as they are\n",
            )
        kept = [
            (name, value)
            for name, value in headers.items()
            if name not in _OURS and name not in _QUEUE_ARGUMENTS
        ]
        replies = reply_to if reply_to is not None else headers.get("reply-to")
        if reply_to is not None:
            kept = [(name, reply_to if name == "reply-to" else value) for name, value in kept]
        ttl = _number(headers, "expiration")
        expires = _number(headers, "expires")
        timestamp = _number(headers, "timestamp")
        if timestamp is not None and timestamp < _SECONDS_BELOW:
            timestamp *= 1000
        lines, _ = encode_headers(kept, Version.V12)
        self._lives = ttl
        self._prototype = Message(
            address=address,
            body=b"",
            scope=scope,
            headers={name: value for name, value in kept if name not in _FIELDS},
            content_type=headers.get("content-type"),
            content_encoding=headers.get("content-encoding"),
            correlation_id=headers.get("correlation-id"),
            reply_to=None if replies is None else address_of(replies),
            message_id=headers.get("amqp-message-id"),
            type=headers.get("type"),
            app_id=headers.get("app-id"),
            user_id=headers.get("user-id"),
            timestamp=timestamp,
            expires_at=expires or None,
            delay=_number(headers, "AMQ_SCHEDULED_DELAY"),
            priority=min(_number(headers, "priority") or 0, 255),
            durable=headers.get("persistent") == "true",
            group=headers.get("JMSXGroupID"),
            dedup_id=headers.get("hubbub.deduplication-id"),
            wire=Wire(_WIRE, lines),
        )
        # What `copy.copy` ends in; asked for directly it takes half the time.
        self._copy: Callable[[], Message] = self._prototype.__copy__  # type: ignore[attr-defined]
        self.queue: str | None = None
        """The queue that must exist before; None: not that there is one."""
        self.stream: str | None = None
        self.scope: str | None = None
        """The exchange that must exist."""

    def message(self, body: bytes, now: int) -> Message:
        """Make the message of one frame; `now` in milliseconds since the epoch."""
        message = self._copy()
        message.body = body
        if self._lives is not None:
            message.expires_at = now + self._lives
        return message


def _number(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise StompError("Invalid header", f"\"{name}\" must be a number, not '{text[:80]}'\n")
    return int(text)


def address_of(reply_to: str) -> str:
    """Return the address that a `reply-to` names; one that names none stays as it is."""
    try:
        return parse_destination(reply_to).address()
    except (StompError, AddressError):
        return reply_to


def message_tail(message: Message, version: Version, lossy: Lossy) -> bytes:
    """Encode the part of a MESSAGE frame that all its receivers of one version share."""
    wire = message.wire
    if wire is not None and wire.protocol == _WIRE:
        lines = wire.data
        if version is not Version.V12 and b"\\" in lines:
            lines = _recode(lines, version, lossy)
    else:
        lines = _encode(_headers(message, lossy), version, lossy)
    if message.deaths:
        lines += _encode(_death_headers(message), version, lossy)
    return encode_message_tail(lines, message.body)


def destination_line(address: str, scope: str | None, version: Version, lossy: Lossy) -> bytes:
    """Encode the header `destination` of a message that was published to an address."""
    return _encode([("destination", spell(address, scope))], version, lossy)


def _encode(headers: list[tuple[str, str]], version: Version, lossy: Lossy) -> bytes:
    lines, lost = encode_headers(headers, version)
    for _ in lost:
        lossy("header")
    return lines


def _recode(lines: bytes, version: Version, lossy: Lossy) -> bytes:
    """Spell headers of 1.2 as another version has them."""
    pairs = []
    for line in lines.decode().split("\n")[:-1]:
        name, _, value = line.partition(":")
        pairs.append((unescape(name, Version.V12), unescape(value, Version.V12)))
    return _encode(pairs, version, lossy)


def _headers(message: Message, lossy: Lossy) -> list[tuple[str, str]]:
    """Make the headers of a message that came by another protocol."""
    headers: list[tuple[str, str]] = []
    correlation = message.correlation_id
    if isinstance(correlation, bytes):
        try:
            correlation = correlation.decode()
        except UnicodeDecodeError:
            lossy("correlation id type")
            correlation = msgspec.json.encode(correlation).decode()[1:-1]
    timestamp = message.timestamp
    if timestamp is not None and not timestamp % 1000 and timestamp // 1000 < _SECONDS_BELOW:
        timestamp //= 1000
    for name, value in (
        ("content-type", message.content_type),
        ("content-encoding", message.content_encoding),
        ("correlation-id", correlation),
        ("reply-to", None if message.reply_to is None else spell(message.reply_to)),
        ("type", message.type),
        ("app-id", message.app_id),
        ("user-id", message.user_id),
        ("amqp-message-id", message.message_id),
        ("timestamp", timestamp),
        ("priority", message.priority or None),
        ("persistent", "true" if message.durable else None),
        ("expires", message.expires_at),
        ("JMSXGroupID", message.group),
        ("hubbub.deduplication-id", message.dedup_id),
    ):
        if value is not None:
            headers.append((name, str(value)))
    for name, header in message.headers.items():
        if name in _OURS or name in _FIELDS:
            lossy("header name")
        else:
            headers.append((name, _text(header, lossy)))
    return headers


def _death_headers(message: Message) -> list[tuple[str, str]]:
    """Tell where a dead letter comes from, by RabbitMQ's names."""
    first = message.deaths[-1]
    deaths = [
        {"queue": each.queue, "reason": each.reason, "count": each.count, "time": each.time,
         "destination": spell(each.address)}
        for each in message.deaths
    ]  # fmt: skip
    exchange = ""
    if not first.address.startswith(("$queue/", "$stream/")):
        exchange = first.scope or ROOT_EXCHANGE
    return [
        ("x-first-death-exchange", exchange),
        ("x-first-death-queue", first.queue),
        ("x-first-death-reason", first.reason),
        ("x-death", msgspec.json.encode(deaths).decode()),
    ]


def _text(value: HeaderValue, lossy: Lossy) -> str:
    """Write a header as text: as it is, else as JSON, which has bytes in base64."""
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes | list | dict):
        lossy("header type")
    text = msgspec.json.encode(value).decode()
    return text[1:-1] if isinstance(value, bytes) else text


def property_of(message: Message, name: str) -> HeaderValue:
    """Return what a selector sees by this name: a header, else a field by JMS's name or ours."""
    found = message.headers.get(name)
    if found is not None:
        return found
    field = _PROPERTIES.get(name)
    return None if field is None else field(message)


def _text_of(value: str | bytes | None) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


_PROPERTIES: Final[Mapping[str, Callable[[Message], HeaderValue]]] = {
    "JMSMessageID": lambda message: message.message_id or str(message.id),
    "JMSCorrelationID": lambda message: _text_of(message.correlation_id),
    "JMSType": lambda message: message.type,
    "JMSPriority": lambda message: message.priority,
    "JMSTimestamp": lambda message: message.timestamp or message.published,
    "JMSExpiration": lambda message: message.expires_at or 0,
    "JMSDeliveryMode": lambda message: "PERSISTENT" if message.durable else "NON_PERSISTENT",
    "JMSReplyTo": lambda message: None if message.reply_to is None else spell(message.reply_to),
    "JMSDestination": lambda message: spell(message.address, message.scope),
    "JMSXGroupID": lambda message: message.group,
    "amqp-message-id": lambda message: message.message_id,
    "app-id": lambda message: message.app_id,
    "content-encoding": lambda message: message.content_encoding,
    "content-type": lambda message: message.content_type,
    "correlation-id": lambda message: _text_of(message.correlation_id),
    "persistent": lambda message: "true" if message.durable else None,
    "priority": lambda message: message.priority,
    "type": lambda message: message.type,
    "user-id": lambda message: message.user_id,
}
