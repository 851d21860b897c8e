"""Packets to bytes, for all three versions and both directions.

Before 5.0 a packet has no properties and, but for CONNACK and SUBACK, no reasons: they are left out
there. Whatever else cannot be put into a packet raises ValueError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from .packets import (
    BRIDGE,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    PacketType,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Version,
    Will,
)
from .properties import (
    NO_PROPERTIES,
    Place,
    Properties,
    encode_properties,
)
from .wire import encode_binary, encode_utf8, encode_varint

_EMPTY_TOPIC: Final = b"\0\0"
_ONE_BYTE: Final = tuple(bytes((value,)) for value in range(256))


def encode(packet: Packet, version: Version) -> bytes:
    """Encode one packet as `version` has it; a CONNECT goes by the version it names."""
    encoder = _ENCODERS.get(type(packet))
    if encoder is None:
        raise ValueError(f"{type(packet).__name__} is not a control packet")
    return encoder(packet, version)


def _encode_topic_name(topic: str) -> bytes:
    if not topic:
        raise ValueError("the topic name is empty")
    if "+" in topic or "#" in topic or "\0" in topic:
        raise ValueError("a topic name must not contain a wildcard or U+0000")
    data = topic.encode()
    if len(data) > 0xFFFF:
        raise ValueError("the topic name is longer than 65,535 bytes")
    return len(data).to_bytes(2, "big") + data


def _packet_id(packet_id: int) -> bytes:
    if not 0 < packet_id < 0x10000:
        raise ValueError(f"{packet_id} is not a packet identifier")
    return packet_id.to_bytes(2, "big")


def _frame(first: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return _ONE_BYTE[first] + encode_varint(len(body)) + body


def _encode_properties(properties: Properties, place: Place, version: Version) -> bytes:
    return encode_properties(properties, place) if version == Version.V5 else b""


def _encode_connect(packet: Connect, _: Version) -> bytes:
    version = packet.version
    flags = packet.clean_start << 1
    will = b""
    if packet.will is not None:
        flags |= 4 | _qos(packet.will.qos) << 3 | packet.will.retain << 5
        will = _encode_will(packet.will, version)
    user_name = password = b""
    if packet.user_name is not None:
        flags |= 0x80
        user_name = encode_utf8(packet.user_name, "user name")
    if packet.password is not None:
        if packet.user_name is None and version != Version.V5:
            raise ValueError("a password needs a user name before MQTT 5.0 [MQTT-3.1.2-22]")
        flags |= 0x40
        password = encode_binary(packet.password, "password")
    return _frame(
        PacketType.CONNECT << 4,
        encode_utf8("MQIsdp" if version == Version.V31 else "MQTT", "protocol name"),
        bytes((version | (BRIDGE if packet.bridge else 0), flags)),
        packet.keep_alive.to_bytes(2, "big"),
        _encode_properties(packet.properties, Place.CONNECT, version),
        encode_utf8(packet.client_id, "client identifier"),
        will,
        user_name,
        password,
    )


def _encode_will(will: Will, version: Version) -> bytes:
    return (
        _encode_properties(will.properties, Place.WILL, version)
        + _encode_topic_name(will.topic)
        + encode_binary(will.payload, "will payload")
    )


def _encode_connack(packet: Connack, version: Version) -> bytes:
    return _frame(
        PacketType.CONNACK << 4,
        bytes((packet.session_present and version != Version.V31, packet.reason)),
        _encode_properties(packet.properties, Place.CONNACK, version),
    )


def _encode_publish(packet: Publish, version: Version) -> bytes:
    alias = packet.properties.topic_alias
    known = not packet.topic and alias is not None and version == Version.V5
    qos = _qos(packet.qos)
    return _frame(
        PacketType.PUBLISH << 4 | packet.retain | qos << 1 | packet.dup << 3,
        _EMPTY_TOPIC if known else _encode_topic_name(packet.topic),
        _packet_id(packet.packet_id) if qos else b"",
        _encode_properties(packet.properties, Place.PUBLISH, version),
        packet.payload,
    )


def _qos(qos: int) -> int:
    if qos not in {0, 1, 2}:
        raise ValueError(f"{qos} is not a QoS")
    return qos


def _ack_encoder(kind: PacketType) -> Callable[[Any, Version], bytes]:
    first = _ONE_BYTE[kind << 4 | (2 if kind is PacketType.PUBREL else 0)]
    place = Place[kind.name]
    shortest = first + b"\x02"

    def encode_ack(packet: Puback | Pubrec | Pubrel | Pubcomp, version: Version) -> bytes:
        packet_id = _packet_id(packet.packet_id)
        if version != Version.V5:
            return shortest + packet_id
        reason, properties = packet.reason, packet.properties
        # Reason and property length are left out where they may be (3.4.2.1, 3.4.2.2.1).
        if properties == NO_PROPERTIES:
            if not reason:
                return shortest + packet_id
            return first + b"\x03" + packet_id + _ONE_BYTE[reason]
        fields = encode_properties(properties, place)
        return first + encode_varint(3 + len(fields)) + packet_id + _ONE_BYTE[reason] + fields

    return encode_ack


def _encode_subscribe(packet: Subscribe, version: Version) -> bytes:
    if not packet.subscriptions:
        raise ValueError("SUBSCRIBE needs a topic filter [MQTT-3.8.3-2]")
    parts = [
        _packet_id(packet.packet_id),
        _encode_properties(packet.properties, Place.SUBSCRIBE, version),
    ]
    for subscription in packet.subscriptions:
        options = _qos(subscription.qos)
        if version == Version.V5:
            options |= subscription.no_local << 2 | subscription.retain_as_published << 3
            if not 0 <= subscription.retain_handling <= 2:
                raise ValueError(f"{subscription.retain_handling} is not a retain handling")
            options |= subscription.retain_handling << 4
        parts += encode_utf8(subscription.filter, "topic filter"), _ONE_BYTE[options]
    return _frame(PacketType.SUBSCRIBE << 4 | 2, *parts)


def _encode_suback(packet: Suback, version: Version) -> bytes:
    return _frame(
        PacketType.SUBACK << 4,
        _packet_id(packet.packet_id),
        _encode_properties(packet.properties, Place.SUBACK, version),
        bytes(packet.reasons),
    )


def _encode_unsubscribe(packet: Unsubscribe, version: Version) -> bytes:
    if not packet.filters:
        raise ValueError("UNSUBSCRIBE needs a topic filter [MQTT-3.10.3-2]")
    return _frame(
        PacketType.UNSUBSCRIBE << 4 | 2,
        _packet_id(packet.packet_id),
        _encode_properties(packet.properties, Place.UNSUBSCRIBE, version),
        *(encode_utf8(topic_filter, "topic filter") for topic_filter in packet.filters),
    )


def _encode_unsuback(packet: Unsuback, version: Version) -> bytes:
    return _frame(
        PacketType.UNSUBACK << 4,
        _packet_id(packet.packet_id),
        _encode_properties(packet.properties, Place.UNSUBACK, version),
        bytes(packet.reasons) if version == Version.V5 else b"",
    )


def _encode_disconnect(packet: Disconnect, version: Version) -> bytes:
    first = PacketType.DISCONNECT << 4
    if version != Version.V5:
        return _frame(first)
    if packet.properties == NO_PROPERTIES:
        return _frame(first, _ONE_BYTE[packet.reason] if packet.reason else b"")
    fields = encode_properties(packet.properties, Place.DISCONNECT)
    return _frame(first, _ONE_BYTE[packet.reason], fields)


def _encode_auth(packet: Auth, version: Version) -> bytes:
    if version != Version.V5:
        raise ValueError("AUTH came with MQTT 5.0")
    if not packet.reason and packet.properties == NO_PROPERTIES:
        return _frame(PacketType.AUTH << 4)
    fields = encode_properties(packet.properties, Place.AUTH)
    return _frame(PacketType.AUTH << 4, _ONE_BYTE[packet.reason], fields)


_ENCODERS: Final[Mapping[type[Packet], Callable[[Any, Version], bytes]]] = {
    Connect: _encode_connect,
    Connack: _encode_connack,
    Publish: _encode_publish,
    Puback: _ack_encoder(PacketType.PUBACK),
    Pubrec: _ack_encoder(PacketType.PUBREC),
    Pubrel: _ack_encoder(PacketType.PUBREL),
    Pubcomp: _ack_encoder(PacketType.PUBCOMP),
    Subscribe: _encode_subscribe,
    Suback: _encode_suback,
    Unsubscribe: _encode_unsubscribe,
    Unsuback: _encode_unsuback,
    Pingreq: lambda _packet, _version: b"\xc0\x00",
    Pingresp: lambda _packet, _version: b"\xd0\x00",
    Disconnect: _encode_disconnect,
    Auth: _encode_auth,
}
