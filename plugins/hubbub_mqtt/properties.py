"""The properties of MQTT 5.0: which there are, where each may stand, and their encoding (2.2.2)."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntFlag
from typing import Any, Final, NamedTuple

import msgspec

from .errors import MqttError, Rule
from .wire import VARINT_MAX, Reader, encode_binary, encode_utf8, encode_varint


class Place(IntFlag):
    """Where properties stand: in a packet, or with the will inside of CONNECT."""

    CONNECT = 1 << 1
    CONNACK = 1 << 2
    PUBLISH = 1 << 3
    PUBACK = 1 << 4
    PUBREC = 1 << 5
    PUBREL = 1 << 6
    PUBCOMP = 1 << 7
    SUBSCRIBE = 1 << 8
    SUBACK = 1 << 9
    UNSUBSCRIBE = 1 << 10
    UNSUBACK = 1 << 11
    DISCONNECT = 1 << 14
    AUTH = 1 << 15
    WILL = 1 << 16


class Properties(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The properties of one packet, or of a will. None or an empty tuple means: absent.

    Intervals are in seconds, sizes in bytes. The order of user properties is kept; that of other
    properties has no meaning (2.2.2.2) and is not.
    """

    payload_format_indicator: int | None = None
    message_expiry_interval: int | None = None
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    subscription_identifiers: tuple[int, ...] = ()
    session_expiry_interval: int | None = None
    assigned_client_identifier: str | None = None
    server_keep_alive: int | None = None
    authentication_method: str | None = None
    authentication_data: bytes | None = None
    request_problem_information: int | None = None
    will_delay_interval: int | None = None
    request_response_information: int | None = None
    response_information: str | None = None
    server_reference: str | None = None
    reason_string: str | None = None
    receive_maximum: int | None = None
    topic_alias_maximum: int | None = None
    topic_alias: int | None = None
    maximum_qos: int | None = None
    retain_available: int | None = None
    user_properties: tuple[tuple[str, str], ...] = ()
    maximum_packet_size: int | None = None
    wildcard_subscription_available: int | None = None
    subscription_identifiers_available: int | None = None
    shared_subscription_available: int | None = None


#: No properties at all, as most packets have it. The decoder gives this very object for them.
NO_PROPERTIES: Final = Properties()


class _Type(NamedTuple):
    """A data type of section 1.5: how to read it and how to write it, given the field's name."""

    read: Callable[[Reader, str], Any]
    write: Callable[[Any, str], bytes]


def _encode_uint(size: int) -> Callable[[int, str], bytes]:
    def write(value: int, what: str) -> bytes:
        try:
            return value.to_bytes(size, "big")
        except OverflowError:
            raise ValueError(f"{what} {value} does not fit {size} bytes") from None

    return write


def _read_pair(reader: Reader, what: str) -> tuple[str, str]:
    return reader.utf8(what), reader.utf8(what)


_BYTE: Final = _Type(Reader.uint8, _encode_uint(1))
_UINT16: Final = _Type(Reader.uint16, _encode_uint(2))
_UINT32: Final = _Type(Reader.uint32, _encode_uint(4))
_VARINT: Final = _Type(Reader.varint, lambda value, _: encode_varint(value))
_BINARY: Final = _Type(Reader.binary, encode_binary)
_STRING: Final = _Type(Reader.utf8, encode_utf8)
_PAIR: Final = _Type(
    _read_pair, lambda pair, what: encode_utf8(pair[0], what) + encode_utf8(pair[1], what)
)


class _Kind(NamedTuple):
    """One row of table 2-4."""

    name: str
    type: _Type
    places: Place
    #: The values allowed, smallest and largest, where that is less than the type can hold.
    low: int | None = None
    high: int | None = None


_MESSAGE: Final = Place.PUBLISH | Place.WILL
_ACK: Final = Place.PUBACK | Place.PUBREC | Place.PUBREL | Place.PUBCOMP
_REASON_STRING: Final = (
    Place.CONNACK | _ACK | Place.SUBACK | Place.UNSUBACK | Place.DISCONNECT | Place.AUTH
)
_USER_PROPERTY: Final = (
    _REASON_STRING | _MESSAGE | Place.CONNECT | Place.SUBSCRIBE | Place.UNSUBSCRIBE
)
_EXPIRY: Final = Place.CONNECT | Place.CONNACK | Place.DISCONNECT
_AUTHENTICATION: Final = Place.CONNECT | Place.CONNACK | Place.AUTH
_LIMIT: Final = Place.CONNECT | Place.CONNACK
_REFERENCE: Final = Place.CONNACK | Place.DISCONNECT

_SUBSCRIPTION_IDENTIFIER: Final = 0x0B
_TOPIC_ALIAS: Final = 0x23
_USER_PROPERTY_ID: Final = 0x26
#: Fields that are tuples in `Properties`.
_REPEATABLE: Final = frozenset({"subscription_identifiers", "user_properties"})

_KINDS: Final[dict[int, _Kind]] = {
    0x01: _Kind("payload_format_indicator", _BYTE, _MESSAGE, 0, 1),
    0x02: _Kind("message_expiry_interval", _UINT32, _MESSAGE),
    0x03: _Kind("content_type", _STRING, _MESSAGE),
    0x08: _Kind("response_topic", _STRING, _MESSAGE),
    0x09: _Kind("correlation_data", _BINARY, _MESSAGE),
    0x0B: _Kind(
        "subscription_identifiers", _VARINT, Place.PUBLISH | Place.SUBSCRIBE, 1, VARINT_MAX
    ),
    0x11: _Kind("session_expiry_interval", _UINT32, _EXPIRY),
    0x12: _Kind("assigned_client_identifier", _STRING, Place.CONNACK),
    0x13: _Kind("server_keep_alive", _UINT16, Place.CONNACK),
    0x15: _Kind("authentication_method", _STRING, _AUTHENTICATION),
    0x16: _Kind("authentication_data", _BINARY, _AUTHENTICATION),
    0x17: _Kind("request_problem_information", _BYTE, Place.CONNECT, 0, 1),
    0x18: _Kind("will_delay_interval", _UINT32, Place.WILL),
    0x19: _Kind("request_response_information", _BYTE, Place.CONNECT, 0, 1),
    0x1A: _Kind("response_information", _STRING, Place.CONNACK),
    0x1C: _Kind("server_reference", _STRING, _REFERENCE),
    0x1F: _Kind("reason_string", _STRING, _REASON_STRING),
    0x21: _Kind("receive_maximum", _UINT16, _LIMIT, 1, 0xFFFF),
    0x22: _Kind("topic_alias_maximum", _UINT16, _LIMIT),
    0x23: _Kind("topic_alias", _UINT16, Place.PUBLISH, 1, 0xFFFF),
    0x24: _Kind("maximum_qos", _BYTE, Place.CONNACK, 0, 1),
    0x25: _Kind("retain_available", _BYTE, Place.CONNACK, 0, 1),
    0x26: _Kind("user_properties", _PAIR, _USER_PROPERTY),
    0x27: _Kind("maximum_packet_size", _UINT32, _LIMIT, 1, 0xFFFF_FFFF),
    0x28: _Kind("wildcard_subscription_available", _BYTE, Place.CONNACK, 0, 1),
    0x29: _Kind("subscription_identifiers_available", _BYTE, Place.CONNACK, 0, 1),
    0x2A: _Kind("shared_subscription_available", _BYTE, Place.CONNACK, 0, 1),
}


def decode_properties(reader: Reader, place: Place) -> Properties:
    """Read the property length and the properties of `place`."""
    length = reader.varint("property length")
    if not length:
        return NO_PROPERTIES
    packet_end = reader.end
    end = reader.position + length
    if end > packet_end:
        raise MqttError(Rule.PROPERTY_OVERRUN, "property length")
    reader.end = end
    values: dict[str, Any] = {}
    while reader.position < end:
        _decode_property(reader, place, values)
    reader.end = packet_end
    # In AUTH the missing method is a fault of its own, which its decoder reports.
    if (
        place is not Place.AUTH
        and "authentication_data" in values
        and "authentication_method" not in values
    ):
        raise MqttError(Rule.AUTH_DATA_WITHOUT_METHOD)
    _check_response_topic(values.get("response_topic"))
    for name in _REPEATABLE & values.keys():
        values[name] = tuple(values[name])
    return Properties(**values)


def _decode_property(reader: Reader, place: Place, values: dict[str, Any]) -> None:
    # An identifier is a Variable Byte Integer, but all that exist fit one byte.
    identifier = reader.uint8("property identifier")
    kind = _KINDS.get(identifier)
    if kind is None:
        raise MqttError(Rule.PROPERTY_UNKNOWN, f"0x{identifier:02X}")
    name = kind.name
    if not kind.places & place:
        raise MqttError(Rule.PROPERTY_NOT_ALLOWED, name)
    try:
        value = kind.type.read(reader, name)
    except MqttError as error:
        if error.rule is Rule.TRUNCATED:
            raise MqttError(Rule.PROPERTY_OVERRUN, name) from None
        raise
    if kind.low is not None and kind.high is not None and not kind.low <= value <= kind.high:
        rule = Rule.TOPIC_ALIAS_ZERO if identifier == _TOPIC_ALIAS else Rule.PROPERTY_VALUE
        raise MqttError(rule, f"{name} {value}")
    if identifier == _USER_PROPERTY_ID or (
        identifier == _SUBSCRIPTION_IDENTIFIER and place is Place.PUBLISH
    ):
        # A list while reading: a packet full of user properties must not cost quadratic time.
        values.setdefault(name, []).append(value)
    elif name in values:
        raise MqttError(Rule.PROPERTY_REPEATED, name)
    else:
        values[name] = [value] if identifier == _SUBSCRIPTION_IDENTIFIER else value


def _check_response_topic(topic: str | None) -> None:
    if topic is None:
        return
    if not topic:
        raise MqttError(Rule.TOPIC_EMPTY, "response_topic")
    if "+" in topic or "#" in topic:
        raise MqttError(Rule.RESPONSE_TOPIC_WILDCARD)


def encode_property_fields(properties: Properties, place: Place) -> bytes:
    """Encode properties without the property length before them.

    Raises ValueError for a property that `place` does not allow and for a value that does not fit.
    """
    if properties is NO_PROPERTIES:
        return b""
    out = bytearray()
    for identifier, kind in _KINDS.items():
        name = kind.name
        value = getattr(properties, name)
        if value is None or value == ():
            continue
        if not kind.places & place:
            raise ValueError(f"{name} is not valid in {place.name}")
        values = value if isinstance(value, tuple) else (value,)
        if len(values) > 1 and name == "subscription_identifiers" and place is Place.SUBSCRIBE:
            raise ValueError("SUBSCRIBE takes one subscription identifier")
        for item in values:
            if kind.low is not None and kind.high is not None and not kind.low <= item <= kind.high:
                raise ValueError(f"{name} {item} is out of range")
            out.append(identifier)
            out += kind.type.write(item, name)
    return bytes(out)


def encode_properties(properties: Properties, place: Place) -> bytes:
    """Encode the property length and the properties; errors as `encode_property_fields`."""
    fields = encode_property_fields(properties, place)
    return encode_varint(len(fields)) + fields
