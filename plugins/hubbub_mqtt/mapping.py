"""Messages of the bus as PUBLISH packets, and the other way round (see docs/protocols/mqtt.md).

A message that came by MQTT 5.0 keeps its properties as they were encoded, so that nothing is lost
between clients of MQTT 5.0: the order of user properties, repeated names, the payload format.
Message expiry is not among them, for it counts down.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, TypeAlias

import msgspec

from hubbub import HeaderValue, Message, Wire

from .packets import Publish, Version, Will
from .properties import NO_PROPERTIES, Place, Properties, encode_property_fields

PROTOCOLS: Final = {Version.V31: "mqtt-3.1", Version.V311: "mqtt-3.1.1", Version.V5: "mqtt-5"}
"""The name of each version, as messages and metrics have it."""

_MQTT: Final = frozenset(PROTOCOLS.values())
_RESERVED: Final = "hubbub."
_TEXTS: Final = {
    "hubbub.content-encoding": "content_encoding",
    "hubbub.message-id": "message_id",
    "hubbub.type": "type",
    "hubbub.app-id": "app_id",
    "hubbub.user-id": "user_id",
    "hubbub.group": "group",
    "hubbub.deduplication-id": "dedup_id",
}
"""Fields of a message that are text and have no property: user properties with reserved names."""
_NUMBERS: Final = {
    "hubbub.timestamp": ("timestamp", 1 << 53),
    "hubbub.priority": ("priority", 256),
    "hubbub.delay": ("delay", 1 << 53),
}
"""The same for numbers, with what they must be below."""
_LOST_BEFORE_V5: Final = {
    "headers": "headers",
    "content_type": "content type",
    "content_encoding": "content encoding",
    "correlation_id": "correlation id",
    "reply_to": "reply to",
    "message_id": "message id",
    "type": "type",
    "app_id": "app id",
    "user_id": "user id",
    "timestamp": "timestamp",
    "expires_at": "expiry",
    "priority": "priority",
    "group": "group",
    "dedup_id": "deduplication id",
}
"""Fields that clients of versions without properties don't get, and what their loss is called."""
_WIRE: Final = PROTOCOLS[Version.V5]
_LONGEST: Final = 0xFFFF

Lossy: TypeAlias = Callable[[str], None]
"""Counts a field that could not be carried."""


def came_by_mqtt(message: Message) -> bool:
    """Whether an MQTT client published it."""
    return message.protocol in _MQTT


def is_bare(message: Message) -> bool:
    """Whether a message has nothing but topic and body that a property could carry."""
    return not (
        message.headers
        or message.content_type is not None
        or message.correlation_id is not None
        or message.reply_to is not None
        or message.message_id is not None
        or message.content_encoding is not None
        or message.type is not None
        or message.timestamp is not None
        or message.app_id is not None
        or message.user_id is not None
        or message.group is not None
        or message.dedup_id is not None
        or message.delay
        or message.priority
    )


def message_of(packet: Publish | Will, now: int) -> Message:
    """Make the message that a PUBLISH or a will carries; `now` in ms since the epoch."""
    properties = packet.properties
    if properties is NO_PROPERTIES:
        return Message(
            address=packet.topic, body=packet.payload, qos=packet.qos, retain=packet.retain
        )
    interval = properties.message_expiry_interval
    headers = _headers(properties.user_properties)
    message = Message(
        address=packet.topic,
        body=packet.payload,
        qos=packet.qos,
        retain=packet.retain,
        headers=headers,
        content_type=properties.content_type,
        correlation_id=properties.correlation_data,
        reply_to=properties.response_topic,
        expires_at=None if interval is None else now + interval * 1000,
        wire=_wire(properties),
    )
    for name in [name for name in headers if name.startswith(_RESERVED)]:
        if _set_field(message, name, headers[name]):
            del headers[name]
    return message


def _set_field(message: Message, name: str, value: HeaderValue) -> bool:
    """Set a field by its reserved name, if it is one and the value is such that it can be."""
    if not isinstance(value, str):
        return False
    if name in _TEXTS:
        setattr(message, _TEXTS[name], value)
        return True
    if name in _NUMBERS and value.isascii() and value.isdecimal() and len(value) < 17:
        field, limit = _NUMBERS[name]
        if int(value) < limit:
            setattr(message, field, int(value))
            return True
    return False


def _wire(properties: Properties) -> Wire | None:
    kept = Properties(
        payload_format_indicator=properties.payload_format_indicator,
        content_type=properties.content_type,
        response_topic=properties.response_topic,
        correlation_data=properties.correlation_data,
        user_properties=properties.user_properties,
    )
    fields = encode_property_fields(kept, Place.PUBLISH)
    return Wire(_WIRE, fields) if fields else None


def _headers(pairs: tuple[tuple[str, str], ...]) -> dict[str, HeaderValue]:
    """Make headers of user properties; a repeated name becomes a list."""
    headers: dict[str, HeaderValue] = {}
    for name, value in pairs:
        known = headers.get(name)
        if known is None:
            headers[name] = value
        elif isinstance(known, list):
            known.append(value)
        else:
            headers[name] = [known, value]
    return headers


def count_losses(message: Message, lossy: Lossy) -> None:
    """Count what a message says that versions without properties can't."""
    if message.expires_at is None and is_bare(message):
        return
    for field, name in _LOST_BEFORE_V5.items():
        if getattr(message, field):
            lossy(name)


def fields_of(message: Message, now: int, lossy: Lossy) -> bytes:
    """Encode the properties of a message for MQTT 5.0, without their length."""
    wire = message.wire
    if wire is not None and wire.protocol == _WIRE:
        fields = wire.data
    elif is_bare(message):
        fields = b""
    else:
        fields = encode_property_fields(_properties(message, lossy), Place.PUBLISH)
    if message.expires_at is None:
        return fields
    # What is left, so that nobody downstream keeps it for longer [MQTT-3.3.2-6].
    left = min(max(0, (message.expires_at - now + 999) // 1000), 0xFFFF_FFFF)
    return b"\x02" + left.to_bytes(4, "big") + fields


def _properties(message: Message, lossy: Lossy) -> Properties:
    """Make the properties of a message that came by another protocol."""
    correlation = message.correlation_id
    if isinstance(correlation, str):
        correlation = correlation.encode(errors="surrogatepass")
    if correlation is not None and len(correlation) > _LONGEST:
        lossy("correlation id")
        correlation = None
    response = message.reply_to
    if response is not None and ("+" in response or "#" in response or not _fits(response)):
        lossy("reply to")
        response = None
    content_type = message.content_type
    if content_type is not None and not _fits(content_type):
        lossy("content type")
        content_type = None
    return Properties(
        content_type=content_type,
        response_topic=response or None,
        correlation_data=correlation,
        user_properties=tuple(_user_properties(message, lossy)),
    )


def _user_properties(message: Message, lossy: Lossy) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []

    def add(name: str, text: str) -> None:
        if _fits(name) and _fits(text):
            pairs.append((name, text))
        else:
            lossy("header")

    for name, value in message.headers.items():
        if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
            for each in value:
                add(name, str(each))
        else:
            add(name, _text(value, lossy))
    for name, field in _TEXTS.items():
        if (text := getattr(message, field)) is not None:
            add(name, text)
    for name, (field, _) in _NUMBERS.items():
        if number := getattr(message, field):
            add(name, str(number))
    return pairs


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


def _fits(text: str) -> bool:
    """Whether a text can be a UTF-8 Encoded String (1.5.4)."""
    if "\0" in text:
        return False
    if text.isascii():
        return len(text) <= _LONGEST
    try:
        return len(text.encode()) <= _LONGEST
    except UnicodeEncodeError:
        return False
